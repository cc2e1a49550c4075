"""``megaseg convert`` on folders of text encoders, and what the other commands make of the result."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from encoders import write_encoder

import megaseg
from megaseg import cli

pytest.importorskip("tokenizers")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["megaseg", *map(str, arguments)])
    with pytest.raises(SystemExit) as done:
        cli.main()
    return int(done.value.code or 0)


def test_a_folder_becomes_a_checkpoint_and_a_compiled_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, checkpoint, compiled = tmp_path / "encoder", tmp_path / "e.safetensors", tmp_path / "e.mseg"
    write_encoder(folder)
    assert run(monkeypatch, "convert", folder, checkpoint) == 0
    assert run(monkeypatch, "compile", checkpoint, "-o", compiled, "--compute-type", "float32") == 0
    expected = megaseg.Encoder.from_checkpoint(folder, compute_type="float32").encode(["night house", "door"])
    np.testing.assert_array_equal(megaseg.Encoder.from_checkpoint(compiled).encode(["night house", "door"]), expected)
    capsys.readouterr()
    for file in (checkpoint, compiled):
        assert run(monkeypatch, "info", file, "--json") == 0
        report = json.loads(capsys.readouterr().out)
        assert report["config"]["family"] == "bert"
        assert "tokenizer" in report["metadata"]
    assert run(monkeypatch, "segment", "sample", "-c", compiled) == 2
    assert "embedding" in capsys.readouterr().err


def test_long_metadata_is_told_by_its_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_encoder(tmp_path / "encoder")
    checkpoint = megaseg.load_checkpoint("screenplay-scenes")
    path = tmp_path / "long.safetensors"
    metadata = {"note": "x" * 30_000}
    megaseg.save_checkpoint(path, megaseg.Checkpoint(checkpoint.config, dict(checkpoint.tensors), metadata))
    assert run(monkeypatch, "info", path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["metadata"] == {"note": "30,000 characters"}


@pytest.mark.parametrize("config", [True, False])
def test_a_config_goes_with_a_file_alone(
    config: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_encoder(tmp_path / "encoder")
    source = tmp_path / "encoder" if config else tmp_path / "encoder" / "model.safetensors"
    options = ["--config", tmp_path / "encoder" / "config.json"] if config else []
    assert run(monkeypatch, "convert", source, tmp_path / "out.safetensors", *options) == 2
    assert "a text encoder's folder without" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out.safetensors").exists()

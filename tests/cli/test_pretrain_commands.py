"""``megaseg pretrain``: what it writes, and what it says of bad input."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from pretraining import films
from support import Run

from megaseg import load_checkpoint, save_features

pytest.importorskip("torch")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "films"
    path.mkdir()
    for name, movie in films(6).items():
        save_features(path / f"{name}.npz", movie)
    return path


def test_the_commands_pretrain(run: Run, folder: Path, tmp_path: Path) -> None:
    small = {"hidden_size": 16, "ffn_size": 32, "num_heads": 2, "num_layers": 1}
    (tmp_path / "c.json").write_text(json.dumps(small))
    shared = ("--config", tmp_path / "c.json", "--length", "6", "--batch-size", "8", "--epochs", "1", "--json")
    code, out, err = run("pretrain", "contextualizer", folder, "-o", tmp_path / "a", *shared, "--modalities", "video")
    assert code == 0, err
    assert json.loads(out)["epochs"] == 1
    assert [m.name for m in load_checkpoint(tmp_path / "a" / "encoder.safetensors").config.modalities] == ["video"]
    code, out, err = run(
        "pretrain", "long-range", folder, "-o", tmp_path / "b", *shared, "--without", "cross", "--without", "inter"
    )
    assert code == 0, err
    assert "1 of 6 films have no audio: film4\n" in err
    (line,) = (tmp_path / "b" / "log.jsonl").read_text().splitlines()
    assert set(json.loads(line)["train"]) == {
        "loss",
        "intra.video",
        "intra.audio",
        "intra.language",
    }
    assert load_checkpoint(tmp_path / "b" / "encoder.safetensors").config.max_length == 6


@pytest.mark.parametrize("family", ["contextualizer", "long-range"])
def test_every_option_reaches_the_run(run: Run, folder: Path, tmp_path: Path, family: str) -> None:
    given = {"length": 6, "objective": "regression", "asked": "all", "epochs": 0, "batch-size": 8, "seed": 3}
    flags = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    sizes = tmp_path / "c.json"
    sizes.write_text('{"hidden_size": 16, "ffn_size": 32, "num_heads": 2, "num_layers": 1}')
    code, _, err = run(
        "pretrain",
        family,
        folder,
        "-o",
        tmp_path / "a",
        "--config",
        sizes,
        "--splices",
        "0.5",
        "--without",
        "cross",
        *flags,
    )
    assert code == 0, err
    config = json.loads(load_checkpoint(tmp_path / "a" / "encoder.safetensors").metadata["training"])["config"]
    wanted = {name.replace("-", "_"): value for name, value in given.items()} | {"splice_share": 0.5}
    assert {name: config[name] for name in wanted} == wanted
    assert config["without"] == ["cross"]


def test_the_commands_name_what_is_wrong(run: Run, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "c.json"
    other.write_text('{"family": "long_range"}')
    (tmp_path / "tokens").mkdir()
    for name, movie in films(2).items():
        tokens = {"language": np.zeros(3, np.int32)}
        said = {**movie.modalities, "language": np.eye(3, 10, dtype=np.float32)}
        save_features(
            tmp_path / "tokens" / f"{name}.npz", dataclasses.replace(movie, modalities=said, token_shots=tokens)
        )
    for arguments, message in [
        (
            ("contextualizer", folder, "--config", tmp_path / "c.json"),
            "c.json: expected a config of family contextualizer",
        ),
        (("contextualizer", folder / "film1.npz"), "films: expected at least 2"),
        (("contextualizer", folder, folder / "film1.npz", "--modalities", "smell"), "expected any of the modalities"),
        (("contextualizer", tmp_path / "films", tmp_path), "expected feature files"),
        (("contextualizer", tmp_path / "tokens", "--modalities", "language"), "film0: language: expected a row a shot"),
        (("long-range", folder, "--video", "language", "--language", "language"), "expected different modalities"),
        (("long-range", folder, "--audio", "smell"), "smell: expected a modality of some film"),
    ]:
        code, _, err = run("pretrain", *arguments, "-o", tmp_path / "run")
        assert code == 2
        assert message in err.replace("\n", " ")

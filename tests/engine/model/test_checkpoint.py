"""The checkpoint format: round trips, storage types, and names of shipped checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support import random_checkpoint, small_config

from megaseg import Checkpoint, ModelConfig, load_checkpoint, save_checkpoint
from megaseg.errors import CheckpointError


@pytest.mark.parametrize(("storage", "tolerance"), [("F64", 0), ("F32", 0), ("F16", 2**-11)])
def test_round_trip(tmp_path: Path, storage: str, tolerance: float) -> None:
    saved = random_checkpoint(small_config(threshold=0.37, recipe="screenplay-blocks/1"))
    saved = Checkpoint(saved.config, saved.tensors, {"training": json.dumps({"seed": 3})})
    save_checkpoint(tmp_path / "a.safetensors", saved, storage=storage)
    loaded = load_checkpoint(tmp_path / "a.safetensors")
    assert loaded.config == saved.config
    assert loaded.metadata == saved.metadata
    for name, array in saved.tensors.items():
        np.testing.assert_allclose(loaded.tensors[name], array, rtol=tolerance, atol=tolerance * 1e-3)
    assert (loaded.weights_sha256() == saved.weights_sha256()) == (tolerance == 0)


def test_a_bfloat16_file_is_read_exactly(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    saved = random_checkpoint(small_config())
    tensors = {name: torch.from_numpy(array).bfloat16() for name, array in saved.tensors.items()}
    metadata = {"format": "megaseg/1", "config": saved.config.to_json()}
    save_file(tensors, tmp_path / "a.safetensors", metadata)
    loaded = load_checkpoint(tmp_path / "a.safetensors")
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(loaded.tensors[name], tensor.float().numpy())


def test_config_round_trip_and_unknown_keys() -> None:
    config = small_config("act")
    assert ModelConfig.from_dict(json.loads(config.to_json())) == config
    with pytest.raises(CheckpointError, match=r"unknown keys \['hidden'\]"):
        ModelConfig.from_dict({**config.to_dict(), "hidden": 3})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_length": 4}, "must be odd"),
        ({"num_heads": 5}, "multiple of num_heads"),
        ({"hidden_size": 0}, "hidden_size must be from 1"),
        ({"ffn_size": 2**40}, "ffn_size must be from 1"),
        ({"task": "shot"}, "task must be one of"),
        ({"num_classes": 3}, "num_classes of a scene model"),
        ({"modalities": ()}, "from 1 to 64 modalities"),
        ({"threshold": 1.5}, "threshold must be in"),
        ({"layer_norm_eps": float("nan")}, "layer_norm_eps"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_a_config_that_does_not_fit_itself(changes: dict[str, object], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        small_config(**changes)


@pytest.mark.parametrize(
    ("key", "value"),
    [("hidden_size", "24"), ("hidden_size", True), ("dropout", "0"), ("modalities", "clip"), ("task", 1)],
)
def test_a_mistyped_config_key(key: str, value: object) -> None:
    with pytest.raises(CheckpointError, match=f"config: {key} must be"):
        ModelConfig.from_dict({**small_config().to_dict(), key: value})


def test_a_name_that_is_neither_file_nor_shipped() -> None:
    with pytest.raises(
        CheckpointError,
        match="no-such-model: expected a .safetensors, .mseg, .onnx or .plan file or a shipped checkpoint",
    ):
        load_checkpoint("no-such-model")


def test_the_folder_of_a_pretraining_run_stands_for_its_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    with pytest.raises(CheckpointError, match="run: expected .* the folder of a pretraining run, got a folder"):
        load_checkpoint("run")
    Path("run/log.jsonl").write_text("")
    with pytest.raises(CheckpointError, match="run: expected the folder of a run that has ended, got one without enc"):
        load_checkpoint("run")
    save_checkpoint("run/encoder.safetensors", random_checkpoint(small_config()))
    assert load_checkpoint("run").config == small_config()


def test_saving_refuses_tensors_that_do_not_fit(tmp_path: Path) -> None:
    good = random_checkpoint(small_config())
    path = tmp_path / "a.safetensors"
    for tensors, message in (
        ({**good.tensors, "extra": np.zeros(1, np.float32)}, "1 unexpected"),
        (
            {**good.tensors, "head.bias": np.zeros(3, np.float32)},
            r"head.bias: expected shape \(2,\), got \(3,\)",
        ),
        (
            {**good.tensors, "head.bias": np.full(2, np.nan, np.float32)},
            "head.bias: expected values that are finite",
        ),
    ):
        with pytest.raises(CheckpointError, match=message):
            save_checkpoint(path, Checkpoint(good.config, tensors))
        assert not list(tmp_path.iterdir())
    large = {**good.tensors, "head.bias": np.full(2, 1e6, np.float32)}
    with pytest.raises(CheckpointError, match="overflow"):
        save_checkpoint(path, Checkpoint(good.config, large), storage="F16")

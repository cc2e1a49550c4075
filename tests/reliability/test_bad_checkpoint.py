"""The promises of the checkpoint file: refused early, named exactly, and nothing in it ever runs."""

from __future__ import annotations

import json
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support import random_checkpoint, small_config

from megaseg import Checkpoint, Engine, load_checkpoint
from megaseg.errors import CheckpointError


def write(path: Path, tensors: dict[str, Any], **metadata: str) -> Path:
    config = small_config().to_json()
    save_file(tensors, path, {"format": "megaseg/1", "config": config, **metadata})
    return path


def tensors() -> dict[str, Any]:
    return dict(random_checkpoint(small_config()).tensors)


def read(path: Path) -> None:
    """Open and read everything, as loading into an engine does."""
    checkpoint = load_checkpoint(path)
    for name in checkpoint.tensors:
        checkpoint.tensors[name]


def test_truncation_at_every_header_byte_and_every_tensor(scene_checkpoint: Path, tmp_path: Path) -> None:
    whole = scene_checkpoint.read_bytes()
    (header,) = struct.unpack("<Q", whole[:8])
    cuts = {*range(0, 8 + header, 7), 8 + header, len(whole) - 1}
    cuts |= {8 + header + entry["data_offsets"][1] for name, entry in json.loads(whole[8 : 8 + header]).items()
             if name != "__metadata__"} - {len(whole)}  # fmt: skip
    for cut in sorted(cuts):
        path = tmp_path / "cut.safetensors"
        path.write_bytes(whole[:cut])
        with pytest.raises(CheckpointError, match=r"cut\.safetensors"):
            load_checkpoint(path)
    read(scene_checkpoint)


def test_flipped_header_bytes_never_crash(scene_checkpoint: Path, tmp_path: Path) -> None:
    whole = scene_checkpoint.read_bytes()
    (header,) = struct.unpack("<Q", whole[:8])
    rng = np.random.default_rng(0)
    refused = 0
    for position in rng.integers(0, 8 + header, 400):
        path = tmp_path / "flipped.safetensors"
        flipped = whole[position] ^ (1 << int(rng.integers(8)))
        path.write_bytes(whole[:position] + bytes([flipped]) + whole[position + 1 :])
        try:
            read(path)
        except CheckpointError as error:
            refused += "flipped.safetensors" in str(error)
    assert refused > 300  # the rest hit free text, such as a digit of dropout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("head.bias"), r"1 missing \['head.bias'\]"),
        (lambda t: t.update(extra=np.zeros(2, np.float32)), r"1 unexpected \['extra'\]"),
        (lambda t: t.update({"head.bias": np.zeros(3, np.float32)}), r"head.bias: expected shape \(2,\), got \(3,\)"),
        (lambda t: t.update({"head.bias": np.zeros(2, np.int32)}), "head.bias: expected one of F64, F32.*, got I32"),
    ],
)
def test_tensors_that_do_not_fit_the_config(tmp_path: Path, change: Any, message: str) -> None:
    changed = tensors()
    change(changed)
    path = write(tmp_path / "model.safetensors", changed)
    with pytest.raises(CheckpointError, match=rf"model\.safetensors: .*{message}"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"format": "megaseg/9"}, "metadata format must be 'megaseg/1', got 'megaseg/9'"),
        ({"config": ""}, "expected a JSON object"),
        ({"config": "[]"}, "expected a JSON object"),
        ({"config": "[" * 100_000}, "expected a JSON object"),
        ({"config": '{"task": "scene"}'}, "missing keys"),
    ],
)
def test_metadata_that_is_not_ours(tmp_path: Path, metadata: dict[str, str], message: str) -> None:
    path = write(tmp_path / "model.safetensors", tensors(), **metadata)
    with pytest.raises(CheckpointError, match=rf"model\.safetensors: .*{message}"):
        load_checkpoint(path)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_named(tmp_path: Path, dtype: str, value: float) -> None:
    path = tmp_path / "model.safetensors"
    changed = tensors()
    name = "modalities.audio.fusion.0.linear1.weight"
    changed[name][3, 2] = value
    if dtype == "bfloat16":
        torch = pytest.importorskip("torch")
        from safetensors.torch import save_file as save_torch

        stored = {key: torch.from_numpy(array).bfloat16() for key, array in changed.items()}
        save_torch(stored, path, {"format": "megaseg/1", "config": small_config().to_json()})
    else:
        write(path, {key: array.astype(dtype) for key, array in changed.items()})
    with pytest.raises(CheckpointError, match=rf"{name}: expected finite values, got NaN or Inf"):
        Engine.from_checkpoint(path)


def test_a_file_that_shrinks_after_it_was_checked(scene_checkpoint: Path) -> None:
    checkpoint = load_checkpoint(scene_checkpoint)
    os.truncate(scene_checkpoint, scene_checkpoint.stat().st_size - 4)
    last = max(checkpoint.tensors, key=lambda name: checkpoint.tensors.entries[name]["data_offsets"][1])
    with pytest.raises(CheckpointError, match=f"{last}: expected .* values, the file ends after"):
        checkpoint.tensors[last]


def test_a_config_too_large_for_its_tensors_is_refused_without_allocating(tmp_path: Path) -> None:
    config = {**small_config().to_dict(), "hidden_size": 1 << 20, "num_heads": 1}
    path = write(tmp_path / "model.safetensors", tensors(), config=json.dumps(config))
    with pytest.raises(CheckpointError, match="expected shape"):
        load_checkpoint(path)


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def test_no_pickle_is_ever_executed(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    for name in ("model.pt", "model.safetensors"):
        (tmp_path / name).write_bytes(pickle.dumps(Bomb(mark)))
        with pytest.raises(CheckpointError, match="expected a safetensors file"):
            Engine.from_checkpoint(tmp_path / name)
    assert not mark.exists()
    pickle.loads((tmp_path / "model.pt").read_bytes())  # noqa: S301 (the control: the bomb does go off)
    assert mark.exists()


def test_the_vectors_load_and_name_their_config(shared: Path) -> None:
    paths = sorted((shared / "vectors").glob("*.safetensors"))
    assert len(paths) == 4
    for path in paths:
        checkpoint = load_checkpoint(path)
        assert isinstance(checkpoint, Checkpoint)
        assert set(load_file(path)) == set(checkpoint.config.tensor_shapes())


def test_a_tensor_that_comes_twice_is_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.safetensors", tensors()).read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    header = whole[8 : 8 + length].rstrip()
    entry = header[header.index(b'"head.bias"') :].split(b"}")[0] + b"}"
    twice = header[:-1] + b"," + entry + b"}"
    (tmp_path / "b.safetensors").write_bytes(struct.pack("<Q", len(twice)) + twice + whole[8 + length :])
    with pytest.raises(CheckpointError, match=r"b\.safetensors: .* a header that has 'head\.bias' twice"):
        load_checkpoint(tmp_path / "b.safetensors")

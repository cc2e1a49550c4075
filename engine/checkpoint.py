"""The checkpoint file: safetensors with a config in its metadata, refused before any weight is read if it does not fit.

Nothing here ever unpickles. Format: metadata ``format`` = ``megaseg/1`` and ``config`` = JSON (see ``ModelConfig``).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from megaseg.engine.config import FORMAT, Modality, ModelConfig
from megaseg.engine.files import atomic_write, resolve, shipped
from megaseg.errors import CheckpointError

__all__ = [
    "Checkpoint",
    "Modality",
    "ModelConfig",
    "load_checkpoint",
    "resolve_checkpoint",
    "save_checkpoint",
]

Array = NDArray[Any]
# bfloat16 is read as its 16 bits; NumPy has no such type.
_STORAGE: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model: its config, its tensors by name, and free-form metadata (such as ``training``: provenance as JSON).

    ``tensors`` gives float32 (float64 where stored so) C-contiguous arrays. From a file each access reads one tensor
    afresh, so that a backend that packs them one by one never holds the weights twice.
    """

    config: ModelConfig
    tensors: Mapping[str, Array]
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def num_parameters(self) -> int:
        """Number of weights, all tensors together."""
        return sum(math.prod(shape) for shape in self.config.tensor_shapes().values())

    def weights_sha256(self) -> str:
        """SHA-256 over names and values in float32, sorted by name: the same for every file of the same weights."""
        digest = hashlib.sha256()
        for name in sorted(self.tensors):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(self.tensors[name], dtype="<f4").tobytes())
        return digest.hexdigest()


class _FileTensors(Mapping[str, Array]):
    """Tensors of a validated file, read on access. No map: its pages would count as memory in use."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header: dict[str, Any] = json.loads(file.read(length))
        header.pop("__metadata__", None)
        self._start = 8 + length
        self._header = header

    def __iter__(self) -> Iterator[str]:
        return iter(self._header)

    def __len__(self) -> int:
        return len(self._header)

    def dtype(self, name: str) -> str:
        return str(self._header[name]["dtype"])

    def __getitem__(self, name: str) -> Array:
        entry = self._header[name]
        shape = tuple(entry["shape"])
        count = math.prod(shape)
        offset = self._start + entry["data_offsets"][0]
        values = np.fromfile(self._path, dtype=_STORAGE[entry["dtype"]], count=count, offset=offset)
        if values.size != count:
            raise CheckpointError(f"{self._path}: {name}: expected {count} values, the file ends after {values.size}")
        if entry["dtype"] == "BF16":
            values = (values.astype(np.uint32) << 16).view(np.float32)
        elif entry["dtype"] == "F16":
            values = values.astype(np.float32)
        if not np.isfinite(values).all():
            raise CheckpointError(f"{self._path}: {name}: expected finite values, got NaN or Inf")
        result: Array = values.reshape(shape)
        return result


def resolve_checkpoint(name_or_path: str | os.PathLike[str]) -> Path:
    """A path, or the name of a checkpoint that ships with megaseg (``screenplay-scenes``, ``screenplay-acts``).

    Raises:
        CheckpointError: neither a file nor a shipped name; lists the shipped ones.
    """
    path = resolve(name_or_path, "checkpoints")
    if path is None:
        names = ", ".join(shipped("checkpoints"))
        raise CheckpointError(
            f"{name_or_path}: expected a .safetensors file or a shipped checkpoint ({names}), got none"
        )
    return path


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Open and validate a checkpoint: header, config, and name, shape and type of every tensor. Values are read later.

    Raises:
        CheckpointError: names the file, the tensor, what was expected and what came.
    """
    path = resolve_checkpoint(path)
    try:
        # The library checks the header, its offsets and the file's length; the mapping reads no weights.
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = dict(file.metadata() or {})
        tensors = _FileTensors(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        hint = (
            "; for a torch state dict run: megaseg convert" if path.suffix in {".pt", ".pth", ".bin", ".ckpt"} else ""
        )
        raise CheckpointError(f"{path}: expected a safetensors file, got: {error}{hint}") from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path}: metadata format must be {FORMAT!r}, got {metadata.get('format')!r}")
    try:
        config = ModelConfig.from_dict(_json_object(metadata.pop("config", "")))
        check_tensors(config, {name: tensors._header[name] for name in tensors})
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    del metadata["format"]
    return Checkpoint(config, tensors, metadata)


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"metadata config: expected a JSON object, got {text[:40]!r} ({error})") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"metadata config: expected a JSON object, got {text[:40]!r}")
    return value


def check_tensors(config: ModelConfig, header: Mapping[str, Mapping[str, Any]]) -> None:
    """Compare every tensor's name, shape and storage type with what the config asks for."""
    expected = config.tensor_shapes()
    missing = [name for name in expected if name not in header]
    extra = [name for name in header if name not in expected]
    if missing or extra:
        raise CheckpointError(
            f"tensors do not fit the config: {len(missing)} missing {missing[:3]}, {len(extra)} unexpected {extra[:3]}"
        )
    for name, shape in expected.items():
        got = tuple(header[name]["shape"])
        if got != shape:
            raise CheckpointError(f"{name}: expected shape {shape}, got {got}")
        if header[name]["dtype"] not in _STORAGE:
            raise CheckpointError(f"{name}: expected one of {', '.join(_STORAGE)}, got {header[name]['dtype']}")


def save_checkpoint(path: str | os.PathLike[str], checkpoint: Checkpoint, *, storage: str = "F32") -> None:
    """Write a checkpoint, whole or not at all; ``storage`` is F64, F32 or F16.

    Raises:
        CheckpointError: tensors that do not fit the config, or values that are not finite in that storage.
    """
    header = {name: {"shape": array.shape, "dtype": "F32"} for name, array in checkpoint.tensors.items()}
    check_tensors(checkpoint.config, header)
    with np.errstate(over="ignore"):  # an overflow is found and named below
        stored = {
            name: np.ascontiguousarray(array, dtype=_STORAGE[storage]) for name, array in checkpoint.tensors.items()
        }
    for name, array in stored.items():
        if not np.isfinite(array).all():
            raise CheckpointError(f"{name}: expected values that are finite in {storage}, got NaN, Inf or an overflow")
    metadata = {**checkpoint.metadata, "format": FORMAT, "config": checkpoint.config.to_json()}
    with atomic_write(path) as temporary:
        safetensors.numpy.save_file(stored, temporary, metadata)

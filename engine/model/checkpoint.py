"""The checkpoint file: safetensors with a config in its metadata, refused before any weight is read if it does not fit.

Nothing here ever unpickles. Format: metadata ``format`` = ``megaseg/1`` and ``config`` = JSON (see ``ModelConfig``).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from megaseg.engine.inputs.files import atomic_write, resolve, shipped, what_is_there
from megaseg.engine.inputs.modality import Modality
from megaseg.engine.model.config import FORMAT, ModelConfig
from megaseg.engine.model.derived_tensors import DerivedTensors
from megaseg.engine.model.file_tensors import STORAGE, Array, FileTensors
from megaseg.errors import CheckpointError

ENCODER = "encoder.safetensors"  # in the folder of a pretraining run
CONTENT = "content_sha256"  # in the metadata of a compiled encoder: ``Checkpoint.content_sha256``
_COMPILED = (".mseg", ".onnx", ".plan")
_LOG = "log.jsonl"  # beside the encoder, from the first epoch on
__all__ = [
    "CONTENT",
    "ENCODER",
    "Checkpoint",
    "Modality",
    "ModelConfig",
    "load_checkpoint",
    "resolve_checkpoint",
    "save_checkpoint",
]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model: its config, its tensors by name, and free-form metadata (such as ``training``: provenance as JSON).

    ``tensors`` gives float32 (float64 where stored so) C-contiguous arrays. From a file each access reads one tensor
    afresh, so that a backend that packs them one by one never holds the weights twice. The file stays open for as long
    as its tensors are in use.
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

    def content_sha256(self) -> str:
        """SHA-256 over the config and ``weights_sha256``: the same for every file of the same function."""
        described = json.dumps(self.config.to_dict(), sort_keys=True)
        return hashlib.sha256(f"{described} {self.weights_sha256()}".encode()).hexdigest()

    def compiled_metadata(self) -> dict[str, str]:
        """Metadata of a compiled model: the checkpoint's own, and whose embeddings it gives where it is an encoder."""
        digest = {CONTENT: self.content_sha256()} if self.config.task == "embedding" else {}
        return {**self.metadata, **digest}

    def file_sha256(self) -> str | None:
        """SHA-256 of the checkpoint's file, computed once; None for a checkpoint in memory."""
        return self.tensors.sha256() if isinstance(self.tensors, (FileTensors, DerivedTensors)) else None

    @contextmanager
    def unchanged(self, *, digest: bool = True) -> Iterator[None]:
        """Read tensors within it: at its end the file must be as it was when it was opened.

        Args:
            digest: compare the file's bytes, as is due before anything made of them is kept; else size and time alone.

        Raises:
            CheckpointError: the file was overwritten in place.
        """
        tensors = self.tensors
        if not isinstance(tensors, (FileTensors, DerivedTensors)):
            yield
            return
        if digest:
            tensors.sha256()
        try:
            yield
        except CheckpointError:  # perhaps for that very reason
            tensors.expect_unchanged(digest=False)
            raise
        tensors.expect_unchanged(digest=digest)


def resolve_checkpoint(name_or_path: str | os.PathLike[str]) -> Path:
    """A path, the folder of a pretraining run, whose encoder it stands for, or the name of a shipped checkpoint.

    Raises:
        CheckpointError: none of these; lists the shipped ones.
    """
    if not isinstance(name_or_path, (str, os.PathLike)):
        raise CheckpointError(f"checkpoint: expected a path or a shipped name, got {type(name_or_path).__name__}")
    inside = os.path.join(name_or_path, ENCODER)
    path = resolve(inside if os.path.isfile(inside) else name_or_path, "checkpoints")
    if path is None:
        if os.path.isfile(os.path.join(name_or_path, _LOG)):
            raise CheckpointError(
                f"{name_or_path}: expected the folder of a run that has ended, got one without {ENCODER}; the command "
                "that began it, given again, goes on"
            )
        names = ", ".join(shipped("checkpoints"))
        raise CheckpointError(
            f"{name_or_path}: expected a .safetensors, .mseg, .onnx or .plan file or a shipped checkpoint ({names}), "
            f"or the folder of a pretraining run, got {what_is_there(name_or_path)}"
        )
    return path


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Open and validate a checkpoint: header, config, and name, shape and type of every tensor. Values are read later.

    Raises:
        CheckpointError: names the file, the tensor, what was expected and what came.
    """
    path = resolve_checkpoint(path)
    try:
        tensors = FileTensors(path)
    except (OSError, ValueError, RecursionError) as error:
        if path.suffix.lower() in _COMPILED:
            if not isinstance(error, OSError) and not path.stat().st_size:
                raise CheckpointError(f"{path}: expected a compiled model, got an empty file") from error
            raise CheckpointError(
                f"{path}: expected a .safetensors checkpoint, got a compiled model; give the one that it was made of"
            ) from error
        hint = (
            "; for a torch state dict run: megaseg convert" if path.suffix in {".pt", ".pth", ".bin", ".ckpt"} else ""
        )
        raise CheckpointError(f"{path}: expected a safetensors file, got: {error}{hint}") from error
    metadata = dict(tensors.metadata)
    found = metadata.get("format")
    if found != FORMAT:
        hint = "; heads are scored by megaseg eval head" if str(found).startswith("megaseg-head/") else ""
        raise CheckpointError(f"{path}: metadata format must be {FORMAT!r}, got {found!r}{hint}")
    try:
        config = ModelConfig.from_dict(_json_object(metadata.pop("config", "")))
        check_tensors(config, tensors.entries)
    except (CheckpointError, RecursionError) as error:
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
        if header[name]["dtype"] not in STORAGE:
            raise CheckpointError(f"{name}: expected one of {', '.join(STORAGE)}, got {header[name]['dtype']}")


def save_checkpoint(path: str | os.PathLike[str], checkpoint: Checkpoint, *, storage: str = "F32") -> None:
    """Write a checkpoint, whole or not at all; ``storage`` is F64, F32 or F16.

    Raises:
        CheckpointError: tensors that do not fit the config, or values that are not finite in that storage.
    """
    header = {name: {"shape": array.shape, "dtype": "F32"} for name, array in checkpoint.tensors.items()}
    check_tensors(checkpoint.config, header)
    with np.errstate(over="ignore"):  # an overflow is found and named below
        stored = {
            name: np.ascontiguousarray(array, dtype=STORAGE[storage]) for name, array in checkpoint.tensors.items()
        }
    for name, array in stored.items():
        if not np.isfinite(array).all():
            raise CheckpointError(f"{name}: expected values that are finite in {storage}, got NaN, Inf or an overflow")
    metadata = {**checkpoint.metadata, "format": FORMAT, "config": checkpoint.config.to_json()}
    with atomic_write(path) as temporary:
        safetensors.numpy.save_file(stored, temporary, metadata)

"""Compiled models: ``compile_checkpoint`` writes one, ``cached`` keeps one per weights, passes, target and type.

A file (``.mseg``) holds the rewritten model with its weights packed for one CPU target and one compute type; it is
mapped when loaded, so that processes share its pages. docs/formats.md describes it byte by byte.
"""

from __future__ import annotations

import json
import os
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megaseg.engine.checkpoint import Checkpoint
from megaseg.engine.config import ModelConfig
from megaseg.engine.extension import extension, native_compute_type, native_target
from megaseg.engine.files import atomic_write, locked, sha256
from megaseg.engine.graph import build
from megaseg.engine.lowering import Lowering
from megaseg.engine.passes import PASSES, rewrite
from megaseg.errors import CheckpointError, ResourceLimitError

MAGIC = b"megaseg\0"
VERSION = 3
_HEADER = struct.Struct("<8sIIQQQQQQQ")  # csrc/core/artefact.cpp
_PAGE = 4096
_MOST_TOKENS = 1 << 24  # the executor counts rows of tokens in ints


@dataclass(frozen=True, slots=True)
class ArtefactInfo:
    """What a compiled model says about itself."""

    config: ModelConfig
    target: str
    compute_type: str
    passes: tuple[str, ...]
    metadata: dict[str, Any]


def is_artefact(path: str | os.PathLike[str]) -> bool:
    """Whether a file starts as a compiled model does."""
    try:
        with Path(path).open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def read_info(path: str | os.PathLike[str]) -> ArtefactInfo:
    """The metadata of a compiled model, without its weights; the file as a whole is checked when it is loaded.

    Raises:
        CheckpointError: not a compiled model of this version.
    """
    try:
        with Path(path).open("rb") as file:
            head = file.read(_HEADER.size)
            if len(head) < _HEADER.size or head[: len(MAGIC)] != MAGIC:
                raise CheckpointError(f"{path}: expected a compiled model (.mseg), got another file")
            _, version, _, _, offset, size, *_ = _HEADER.unpack(head)
            if version != VERSION:
                raise CheckpointError(
                    f"{path}: expected artefact version {VERSION}, got {version}; compile the checkpoint again"
                )
            file.seek(offset)
            values = json.loads(file.read(size))
        return ArtefactInfo(
            ModelConfig.from_dict(values["config"]),
            str(values["target"]),
            str(values["compute_type"]),
            tuple(values["passes"]),
            dict(values["metadata"]),
        )
    except (ValueError, KeyError, TypeError, OSError, OverflowError) as error:
        raise CheckpointError(f"{path}: expected a whole compiled model, got: {error}") from error


def compile_checkpoint(
    checkpoint: Checkpoint,
    output: str | os.PathLike[str],
    *,
    compute_type: str = "auto",
    target: str = "",
    passes: Iterable[str] = tuple(PASSES),
) -> ArtefactInfo:
    """Write a compiled model, whole or not at all.

    Args:
        compute_type: ``auto``, ``float32``, ``bfloat16`` or ``int8``.
        target: a CPU target of this machine, for one that has less; empty takes the fastest.
        passes: names of the exact rewrites to apply.

    Raises:
        UnsupportedError: a target or compute type that is not there; lists what is.
        CheckpointError: a tensor with NaN or Inf.
        ResourceLimitError: sequences far beyond any model's.
    """
    with atomic_write(output) as temporary:
        return _write(checkpoint, temporary, compute_type, target, tuple(passes))


def _write(checkpoint: Checkpoint, path: Path, compute_type: str, target: str, passes: tuple[str, ...]) -> ArtefactInfo:
    native = extension()
    target = native_target(target)
    compute_type = native_compute_type(compute_type, target)
    _check_size(checkpoint.config)
    lowering = Lowering(
        rewrite(build(checkpoint), passes),
        compute_type,
        native.compute_types(target),
        lambda kind, weight, bias: native.linear_pack(kind, weight, bias, target=target),
        lambda kind, n, k: int(native.linear_packed_size(kind, n, k, target=target)),
    )
    program, weights, weights_size = lowering.words(target)
    info = ArtefactInfo(checkpoint.config, target, compute_type, passes, dict(checkpoint.metadata))
    described = {
        "config": checkpoint.config.to_dict(),
        "target": target,
        "compute_type": compute_type,
        "passes": list(passes),
        "metadata": info.metadata,
    }
    metadata = json.dumps(described).encode()
    program_at = -(-(_HEADER.size + len(metadata)) // 64) * 64
    weights_at = -(-(program_at + len(program)) // _PAGE) * _PAGE
    sections = (_HEADER.size, len(metadata), program_at, len(program), weights_at, weights_size)
    with path.open("r+b") as file:
        file.write(_HEADER.pack(MAGIC, VERSION, 0, weights_at + weights_size, *sections))
        file.write(metadata)
        file.seek(program_at)
        file.write(program)
        for offset, packed in weights:
            file.seek(weights_at + offset)
            for part in packed.read():
                file.write(part.data)
        file.truncate(weights_at + weights_size)
    native.seal_artefact(str(path))
    return info


def _check_size(config: ModelConfig) -> None:
    tokens = len(config.modalities) * config.num_bottleneck + config.max_length
    if tokens > _MOST_TOKENS:
        raise ResourceLimitError(f"config: expected at most {_MOST_TOKENS} tokens in a sequence, got {tokens}")


def cache_folder() -> Path | None:
    """Where compiled models are kept: ``MEGASEG_CACHE``, else the user's cache folder; None when it is set empty."""
    chosen = os.environ.get("MEGASEG_CACHE")
    if chosen is not None:
        return Path(chosen).expanduser() if chosen else None
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "megaseg"


@contextmanager
def cached(
    checkpoint: Checkpoint, source: Path | None, compute_type: str, target: str, passes: tuple[str, ...]
) -> Iterator[tuple[Path, bool]]:
    """A compiled model of a checkpoint, and whether it is a kept one; the path holds for as long as the context.

    Kept ones are found by the checkpoint file's SHA-256, target, compute type, passes and version. Without a file, or
    where the cache folder cannot be written, the model is compiled in memory.
    """
    target = native_target(target)
    compute_type = native_compute_type(compute_type, target)
    folder = cache_folder() if source is not None else None
    if source is not None and folder is not None:
        path = folder / _name(source, compute_type, target, passes)
        if path.is_file() or _keep(checkpoint, path, compute_type, target, passes):
            yield path, True
            return
    handle = os.memfd_create("megaseg")
    try:
        anonymous = Path(f"/proc/self/fd/{handle}")
        _write(checkpoint, anonymous, compute_type, target, passes)
        yield anonymous, False
    finally:
        os.close(handle)


def _name(source: Path, compute_type: str, target: str, passes: tuple[str, ...]) -> str:
    digest = sha256(source)
    digest.update(json.dumps([VERSION, list(passes)]).encode())
    return f"{digest.hexdigest()[:32]}-{target}-{compute_type}.mseg"


def _keep(checkpoint: Checkpoint, path: Path, compute_type: str, target: str, passes: tuple[str, ...]) -> bool:
    """Compile into the cache; False where the folder cannot be written or is full.

    Of processes that start at once one compiles, the others wait for its file and map the same pages.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(".*.mseg"):  # by a process that was killed while it wrote
            if time.time() - left.stat().st_mtime > 3600:
                left.unlink(missing_ok=True)
        with locked(path.parent, wait=True):
            if not path.is_file():
                compile_checkpoint(checkpoint, path, compute_type=compute_type, target=target, passes=passes)
    except OSError:
        return False
    return True

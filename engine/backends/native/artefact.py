"""Compiled models: ``compile_checkpoint`` writes one, ``kept`` finds or makes that of a checkpoint's file in the cache.

A file (``.mseg``) holds the rewritten model with its weights packed for one CPU target and one compute type; it is
mapped when loaded, so that processes share its pages. docs/formats.md describes it byte by byte.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megaseg.engine.backends.native.extension import extension, native_compute_type, native_target
from megaseg.engine.backends.native.lowering import Lowering, Packed, properties_of, sequence_words
from megaseg.engine.graph.graph import Graph
from megaseg.engine.graph.passes import PASSES, rewrite
from megaseg.engine.graph.sequences import longest_of
from megaseg.engine.inputs.files import atomic_write, cache_folder, locked
from megaseg.engine.inputs.system import passing_file
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.config import ModelConfig
from megaseg.engine.model.family import graph_of, structure_of
from megaseg.errors import CheckpointError, ResourceLimitError

MAGIC = b"megaseg\0"
VERSION = 7
_HEADER = struct.Struct("<8sIIQQQQQQQ")  # csrc/core/artefact.cpp
_PAGE = 4096
_MOST_TOKENS = 1 << 24  # the executor counts rows of tokens in ints
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_LEFT = 3600  # seconds after which a temporary file is one that a killed process left
# Compiling takes less than these seconds, and one more for so many bytes of float32 weights.
_LEAST_WAIT, _SLOWEST = 5.0, 20e6


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
            if offset + size > os.fstat(file.fileno()).st_size:
                raise CheckpointError(f"{path}: expected a whole compiled model, got metadata beyond its end")
            file.seek(offset)
            text = file.read(size)
    except OSError as error:
        raise CheckpointError(f"{path}: expected a readable file, got: {error}") from error
    return _info(path, text)


def plan_info(path: str | os.PathLike[str], plan: Any) -> ArtefactInfo:
    """What a loaded compiled model says about itself, of the bytes that were mapped.

    Raises:
        CheckpointError: metadata that cannot be read, or of another model than the program.
    """
    info = _info(path, plan.metadata)
    graph = structure_of(info.config)
    source = graph.source_inputs
    inputs = [(m.name, m.feature_size, m.type, index in source) for index, m in enumerate(graph.inputs)]
    outputs = [(output.name, output.node.width, len(output.parts)) for output in graph.outputs]
    said = (sequence_words(graph.sequences), inputs, outputs, properties_of(info.config), info.target)
    if said != plan.signature:
        raise CheckpointError(f"{path}: expected metadata of the model {plan.signature}, got {said}")
    return info


def _info(path: str | os.PathLike[str], text: bytes) -> ArtefactInfo:
    try:
        values = json.loads(text.decode())
        config = ModelConfig.from_dict(values["config"])
        named = [values["target"], values["compute_type"], *values["passes"]]
        metadata = dict(values["metadata"])
    except (CheckpointError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path}: expected the metadata of a compiled model, got: {error}") from error
    for name in named:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise CheckpointError(f"{path}: expected names of letters, digits, - and _ in metadata, got {name!r:.80}")
    if not all(isinstance(value, str) for value in metadata.values()):
        raise CheckpointError(f"{path}: expected texts as the checkpoint's metadata")
    target, compute_type, *passes = named
    return ArtefactInfo(config, target, compute_type, tuple(passes), metadata)


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
        compute_type: ``auto``, ``float32``, ``bfloat16``, ``int8``, ``int8_float32`` or ``int8_bfloat16``.
        target: a CPU target of this machine, for one that has less; empty takes the fastest.
        passes: names of the exact rewrites to apply.

    Raises:
        UnsupportedError: a target or compute type that is not there; lists what is.
        CheckpointError: a tensor with NaN or Inf, or a checkpoint file that was overwritten meanwhile.
        ResourceLimitError: sequences far beyond any model's.
    """
    with atomic_write(output) as temporary, checkpoint.unchanged():
        return _write(checkpoint, temporary, compute_type, target, tuple(passes))


def _write(checkpoint: Checkpoint, path: Path, compute_type: str, target: str, passes: tuple[str, ...]) -> ArtefactInfo:
    native = extension()
    target = native_target(target)
    compute_type = native_compute_type(compute_type, target)
    graph = graph_of(checkpoint)
    _check_size(graph)
    lowering = Lowering(
        rewrite(graph, passes),
        compute_type,
        native.product_types(target),
        lambda kind, weight, bias: native.linear_pack(kind, weight, bias, target=target),
        lambda kind, n, k: int(native.linear_packed_size(kind, n, k, target=target)),
    )
    info = ArtefactInfo(checkpoint.config, target, compute_type, passes, checkpoint.compiled_metadata())
    _write_sections(path, info, *lowering.words(target, properties_of(checkpoint.config)))
    try:
        native.seal_artefact(os.fsencode(path))
    except CheckpointError as error:  # of the file system: full, or without maps
        raise OSError(str(error)) from error
    return info


def _write_sections(
    path: Path, info: ArtefactInfo, program: bytes, weights: Iterable[tuple[int, Packed]], weights_size: int
) -> None:
    """Everything but the checksum; weights are at offsets among themselves."""
    described = {
        "config": info.config.to_dict(),
        "target": info.target,
        "compute_type": info.compute_type,
        "passes": list(info.passes),
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


def _check_size(graph: Graph) -> None:
    tokens = max(node.prefix for node in graph.nodes()) + longest_of(graph.sequences)
    if tokens > _MOST_TOKENS:
        raise ResourceLimitError(f"config: expected at most {_MOST_TOKENS} tokens in a sequence, got {tokens}")


def kept(checkpoint: Checkpoint, compute_type: str, target: str, passes: tuple[str, ...]) -> Path | None:
    """The compiled model of a checkpoint's file in the cache, compiled if it is not there yet.

    Of processes that start at once one compiles, the others wait for its file and map the same pages. None without a
    file, and where the cache folder cannot be used: not readable or writable, full, or locked for longer than
    compiling takes (by a process that was stopped).
    """
    folder = cache_folder()
    digest = checkpoint.file_sha256() if folder else None
    if folder is None or digest is None:
        return None
    target = native_target(target)
    compute_type = native_compute_type(compute_type, target)
    path = folder / _kept_name(checkpoint, digest, compute_type, target, passes)
    if os.path.isfile(path):
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_left(folder)
        with locked(folder, wait=_LEAST_WAIT + 4 * checkpoint.num_parameters / _SLOWEST):
            if not path.is_file():
                compile_checkpoint(checkpoint, path, compute_type=compute_type, target=target, passes=passes)
    except OSError:
        return None
    return path


def kept_beside(checkpoint: Checkpoint, info: ArtefactInfo, suffix: str) -> Path | None:
    """Where something is kept that was measured on a compiled model in the cache; None where nothing is kept."""
    folder = cache_folder()
    digest = checkpoint.file_sha256() if folder else None
    if folder is None or digest is None:
        return None
    name = _kept_name(checkpoint, digest, info.compute_type, info.target, info.passes)
    return folder / f"{name.removesuffix('.mseg')}.{suffix}"


def _kept_name(checkpoint: Checkpoint, digest: str, compute_type: str, target: str, passes: tuple[str, ...]) -> str:
    """The file's name: all that the compiled model is made of."""
    from megaseg._version import __version__

    described = [checkpoint.config.to_dict(), dict(checkpoint.metadata), list(passes)]
    key = json.dumps([__version__, VERSION, digest, *described])
    return f"{hashlib.sha256(key.encode()).hexdigest()[:32]}-{target}-{compute_type}.mseg"


def _remove_left(folder: Path) -> None:
    """Remove what processes left that were killed while they wrote."""
    for left in folder.glob(".*.mseg"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _LEFT:
                left.unlink()


@contextmanager
def in_memory(checkpoint: Checkpoint, compute_type: str, target: str, passes: tuple[str, ...]) -> Iterator[Path]:
    """Compile in memory; the path holds for as long as the context.

    Raises:
        ResourceLimitError: the process may not have so much, or so large a file.
        UnsupportedError, CheckpointError: as ``compile_checkpoint``.
    """
    with ExitStack() as stack:
        try:
            path = stack.enter_context(passing_file())
            _write(checkpoint, path, compute_type, target, passes)
        except OSError as error:
            raise ResourceLimitError(f"compiling in memory: expected room for a file there, got: {error}") from error
        yield path

"""Plan files (``.plan``): a TensorRT engine with what it was built from and for, checked before TensorRT sees a byte.

A TensorRT engine runs on the version and the kind of GPU that built it and says nothing useful anywhere else, so the
file says it. docs/tensorrt.md describes it byte by byte.
"""

from __future__ import annotations

import dataclasses
import json
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megaseg.engine.graph.sequences import Windows, longest_of
from megaseg.engine.inputs.files import atomic_write
from megaseg.engine.model.config import ModelConfig
from megaseg.errors import CheckpointError, UnsupportedError

PLAN, TIMING = b"megaplan", b"megatime"
VERSION = 2
_HEADER = struct.Struct("<8sIIQQ")  # magic, version, CRC-32 of all that follows it, bytes of JSON, bytes of body
Range = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Profile:
    """What a plan takes in one run, each as (least, tuned for, most).

    ``sequences`` are windows, or whole movies of equal length; ``shots`` are those that all windows of a run read, or
    those of a movie.
    """

    sequences: Range
    shots: Range

    @classmethod
    def of(cls, config: ModelConfig, windows: int = 256, max_windows: int | None = None, movies: int = 1) -> Profile:
        """The profile of a model: tuned for ``windows`` windows a run, or for one movie of the most shots.

        Args:
            max_windows: most windows a run; None takes four times ``windows``.
            movies: most whole movies of equal length a run.

        Raises:
            UnsupportedError: a number below one, or ``max_windows`` below ``windows``.
        """
        most = 4 * windows if max_windows is None else max_windows
        for name, value, least in (("windows", windows, 1), ("max_windows", most, windows), ("movies", movies, 1)):
            if value < least:
                raise UnsupportedError(f"{name}: expected at least {least}, got {value}")
        if not isinstance(config.sequences, Windows):
            longest = longest_of(config.sequences)
            return cls((1, 1, movies), (1, longest, longest))
        length = config.sequences.length
        # However many movies share a run, only its first and its last are cut: L - 1 shots more than windows.
        return cls((1, windows, most), (1, windows + length - 1, most + length - 1))


@dataclass(frozen=True, slots=True)
class PlanInfo:
    """What a plan file says about itself. ``capability`` is the GPU's compute capability, such as ``9.0``."""

    config: ModelConfig
    compute_type: str
    passes: tuple[str, ...]
    attention: str  # onnx or plugin
    profile: Profile
    tensorrt: str
    gpu: str
    capability: str
    weights_sha256: str
    megaseg: str
    metadata: Mapping[str, Any]

    def require_machine(self, path: object, tensorrt: str, gpu: str, capability: str) -> None:
        """Raises:
        UnsupportedError: built with another TensorRT or for another GPU.
        """
        built, here = (self.tensorrt, self.gpu, self.capability), (tensorrt, gpu, capability)
        if built != here:
            raise UnsupportedError(
                f"{path}: expected a plan for {_machine(*here)}, got one for {_machine(*built)}; compile the "
                f"checkpoint again on this machine, for {self.compute_type}"
            )


def _machine(tensorrt: str, gpu: str, capability: str) -> str:
    return f"TensorRT {tensorrt} on {gpu} (compute capability {capability})"


def is_plan(path: str | os.PathLike[str]) -> bool:
    """Whether a file starts as a plan does."""
    try:
        with Path(path).open("rb") as file:
            return file.read(len(PLAN)) == PLAN
    except OSError:
        return False


def write_plan(path: str | os.PathLike[str], info: PlanInfo, engine: bytes) -> None:
    """Write a plan file, whole or not at all."""
    values = {**dataclasses.asdict(info), "config": info.config.to_dict(), "metadata": dict(info.metadata)}
    write_body(path, PLAN, values, engine)


def read_plan(path: str | os.PathLike[str]) -> tuple[PlanInfo, memoryview]:
    """What a plan says about itself, and its engine.

    Raises:
        CheckpointError: not a whole plan of this version; names the file, what was expected and what came.
    """
    values, engine = read_body(path, PLAN)
    try:
        sequences, shots = (_range(values["profile"][name]) for name in ("sequences", "shots"))
        info = PlanInfo(
            config=ModelConfig.from_dict(values["config"]),
            compute_type=str(values["compute_type"]),
            passes=tuple(str(name) for name in values["passes"]),
            attention=str(values["attention"]),
            profile=Profile(sequences, shots),
            tensorrt=str(values["tensorrt"]),
            gpu=str(values["gpu"]),
            capability=str(values["capability"]),
            weights_sha256=str(values["weights_sha256"]),
            megaseg=str(values["megaseg"]),
            metadata=dict(values["metadata"]),
        )
    except (CheckpointError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: expected the description of a plan, got: {error}") from error
    return info, engine


def _range(values: Any) -> Range:
    least, tuned, most = (int(value) for value in values)
    if not 1 <= least <= tuned <= most:
        raise ValueError(f"a profile {values}")
    return least, tuned, most


def write_body(path: str | os.PathLike[str], magic: bytes, values: Mapping[str, Any], body: bytes) -> None:
    """Write a description and a body under a checksum, whole or not at all."""
    description = json.dumps(values).encode()
    checksum = zlib.crc32(body, zlib.crc32(description))
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        file.write(_HEADER.pack(magic, VERSION, checksum, len(description), len(body)))
        file.write(description)
        file.write(body)


def read_body(path: str | os.PathLike[str], magic: bytes) -> tuple[dict[str, Any], memoryview]:
    """The description and the body of a file that ``write_body`` wrote.

    Raises:
        CheckpointError: another file, of another version, not whole, or changed since.
    """
    try:
        data = memoryview(Path(path).read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path}: expected a readable file, got: {error}") from error
    if len(data) < _HEADER.size or data[: len(magic)] != magic:
        raise CheckpointError(
            f"{path}: expected a file that starts with {magic!r}, got {bytes(data[: len(magic)])!r} ({len(data)} bytes)"
        )
    _, version, checksum, description, body = _HEADER.unpack_from(data)
    if version != VERSION:
        raise CheckpointError(f"{path}: expected plan version {VERSION}, got {version}; compile the checkpoint again")
    whole = _HEADER.size + description + body
    if len(data) != whole:
        raise CheckpointError(f"{path}: expected {whole} bytes, got {len(data)}: the file is not whole")
    rest = data[_HEADER.size :]
    if (got := zlib.crc32(rest)) != checksum:
        raise CheckpointError(f"{path}: expected checksum {checksum:08x}, got {got:08x}: the file is corrupt")
    try:
        values = json.loads(bytes(rest[:description]))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: expected a JSON description, got: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: expected a JSON object as description, got {type(values).__name__}")
    return values, rest[description:]

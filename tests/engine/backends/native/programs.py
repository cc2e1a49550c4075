"""Programs written by hand, word by word as docs/formats.md describes them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

from megaseg import _C

TYPES = ("float32", "bfloat16", "int8", "int32")
SPACES = ("shots", "latents", "prefix", "tokens", "sequences")
OPS = _C.ops()
ALL_TYPES = [(target, kind) for target in _C.available_targets() for kind in ("float32", "bfloat16")]
ALL_TYPES = [(target, kind) for target, kind in ALL_TYPES if kind in _C.compute_types(target)]


class Program:
    """Values, steps and outputs in the order in which they are asked for; every list may be altered before ``plan``."""

    def __init__(self, sequences: tuple[int, int, int] = (1, 40, 0), target: str = "portable") -> None:
        self.sequences, self.target = list(sequences), target
        self.properties: list[tuple[str, str]] = [("task", "test")]
        self.inputs: list[list[Any]] = []
        self.values: list[list[int]] = []
        self.steps: list[list[Any]] = []  # op, out, inputs, attributes, weights
        self.outputs: list[list[Any]] = []  # name, value, parts

    def value(self, space: str, width: int, kind: str = "float32", prefix: int = 0) -> int:
        self.values.append([SPACES.index(space), prefix, width, TYPES.index(kind)])
        return len(self.values) - 1

    def step(
        self, op: str, out: int, inputs: Any = (), attributes: Any = (), weights: Any = (), kind: str = "float32"
    ) -> int:
        """Floats among the attributes are float32 bits; float arrays are stored in ``kind``, others as they are."""
        words = [int(np.float32(a).view(np.uint32)) if isinstance(a, float) else a for a in attributes]
        self.steps.append([OPS.index(op), out, list(inputs), words, [stored(w, kind) for w in weights]])
        return out

    def features(self, name: str, width: int, kind: str = "float32") -> int:
        self.inputs.append([width, ("float32", "int32").index(kind), name])
        out = self.value("latents" if self.sequences[0] else "shots", width, kind)
        return self.step("features", out, (), [len(self.inputs) - 1])

    def read(self, name: str, width: int, kind: str = "float32") -> int:
        """Features as rows in memory, in a type."""
        source = self.features(name, width)
        return self.step("cast", self.value("latents" if self.sequences[0] else "shots", width, kind), [source])

    def exact(self, value: int) -> int:
        """The value in float32."""
        space, prefix, width, _ = self.values[value]
        return self.step("cast", self.value(SPACES[space], width, "float32", prefix), [value])

    def output(self, name: str, value: int, parts: Any = ()) -> None:
        self.outputs.append([name, value, list(parts)])

    def words(self) -> tuple[bytes, bytes]:
        """The program and its weights."""
        weights = b""
        out = [_word(*self.sequences), _text(self.target), _word(len(self.properties))]
        out += [_text(name) + _text(value) for name, value in self.properties]
        out += [_word(len(self.inputs)), *(_word(width, kind) + _text(name) for width, kind, name in self.inputs)]
        out += [_word(len(self.values)), *(_word(*value) for value in self.values), _word(len(self.steps))]
        for op, result, inputs, attributes, data in self.steps:
            out.append(_word(op, result, len(inputs), *inputs, len(attributes), *attributes, len(data)))
            for own in data:
                out.append(struct.pack("<QQ", len(weights), len(own)))
                weights += own + bytes(-len(own) % 64)
        out.append(_word(len(self.outputs)))
        out += [_text(name) + _word(value, len(parts), *parts) for name, value, parts in self.outputs]
        return b"".join(out), weights

    def plan(self, folder: Path, **options: Any) -> Any:
        """The loaded program."""
        program, weights = self.words()
        metadata = b"{}  "
        program_at = 128
        weights_at = -(-(program_at + len(program)) // 64) * 64
        sections = (72, len(metadata), program_at, len(program), weights_at, len(weights))
        head = struct.pack("<8sIIQQQQQQQ", b"megaseg\0", 4, 0, weights_at + len(weights), *sections) + metadata
        path = folder / "program.mseg"
        path.unlink(missing_ok=True)
        path.write_bytes(head.ljust(program_at, b"\0") + program.ljust(weights_at - program_at, b"\0") + weights)
        _C.seal_artefact(str(path))
        return _C.Plan(str(path), **options)


def run(plan: Any, *movies: list[np.ndarray], outputs: tuple[str, ...] = ("y",)) -> list[tuple[np.ndarray, ...]]:
    """Outputs of whole movies."""
    rows: list[tuple[np.ndarray, ...]] = plan.run([(movie, 0, len(movie[0]), None) for movie in movies], list(outputs))
    return rows


def bfloat16(x: np.ndarray) -> np.ndarray:
    """The bits of the nearest bfloat16 values."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def rounded(x: np.ndarray, kind: str) -> np.ndarray:
    """The values that are left in a type, in float64."""
    narrow = (bfloat16(x).astype(np.uint32) << 16).view(np.float32)
    return (narrow if kind == "bfloat16" else np.float32(x)).astype(np.float64)


def stored(weight: np.ndarray, kind: str) -> bytes:
    if weight.dtype == np.uint8:
        return weight.tobytes()
    return (bfloat16(weight) if kind == "bfloat16" else np.ascontiguousarray(weight, np.float32)).tobytes()


def _word(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def _text(text: str) -> bytes:
    data = text.encode()
    return _word(len(data)) + data + bytes(-len(data) % 4)

"""Programs written by hand, word by word as docs/formats.md describes them."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from megaseg import _C

TYPES = ("float32", "bfloat16", "int8", "int32")
SPACES = ("shots", "latents", "prefix", "tokens", "sequences", "source")
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
        self.surplus = b""  # words after the end

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

    def features(self, name: str, width: int, kind: str = "float32", source: bool = False) -> int:
        self.inputs.append([width, ("float32", "int32").index(kind), int(source), name])
        out = self.value("source" if source else "latents" if self.sequences[0] else "shots", width, kind)
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
        out += [_word(len(self.inputs)), *(_word(*numbers) + _text(name) for *numbers, name in self.inputs)]
        out += [_word(len(self.values)), *(_word(*value) for value in self.values), _word(len(self.steps))]
        for op, result, inputs, attributes, data in self.steps:
            out.append(_word(op, result, len(inputs), *inputs, len(attributes), *attributes, len(data)))
            for own in data:
                out.append(struct.pack("<QQ", len(weights), len(own)))
                weights += own + bytes(-len(own) % 64)
        out.append(_word(len(self.outputs)))
        out += [_text(name) + _word(value, len(parts), *parts) for name, value, parts in self.outputs]
        return b"".join([*out, self.surplus]), weights

    def write(self, path: Path) -> None:
        """A compiled model without a checkpoint's metadata."""
        program, weights = self.words()
        metadata = b"{}  "
        program_at = 128
        weights_at = -(-(program_at + len(program)) // 64) * 64
        sections = (72, len(metadata), program_at, len(program), weights_at, len(weights))
        head = struct.pack("<8sIIQQQQQQQ", b"megaseg\0", 7, 0, weights_at + len(weights), *sections) + metadata
        path.unlink(missing_ok=True)
        path.write_bytes(head.ljust(program_at, b"\0") + program.ljust(weights_at - program_at, b"\0") + weights)
        _C.seal_artefact(str(path))

    def plan(self, folder: Path, **options: Any) -> Any:
        """The program, written and loaded."""
        self.write(folder / "program.mseg")
        return _C.Plan(str(folder / "program.mseg"), **options)


def run(plan: Any, *movies: list[np.ndarray], outputs: tuple[str, ...] = ("y",)) -> list[tuple[np.ndarray, ...]]:
    """Outputs of whole movies."""
    rows: list[tuple[np.ndarray, ...]] = plan.run([(movie, 0, len(movie[0]), None) for movie in movies], list(outputs))
    return rows


FUZZ = """
import sys
import numpy as np
from megaseg import _C
from megaseg.errors import MegasegError
path, seed = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(seed)
good = open(path, "rb").read()
offset, size = (int.from_bytes(good[i : i + 8], "little") for i in (40, 48))
features, outputs = eval(sys.argv[3]), sys.argv[4].split(",")
ran = refused = 0
for _ in range(400):
    changed = bytearray(good)
    for _ in range(rng.integers(1, 4)):
        at = offset + 4 * int(rng.integers(size // 4))
        word = int(rng.choice([0, 1, 2, 3, 5, 7, 8, 24, 63, 64, 1000, 2**31, 2**32 - 1, rng.integers(2**32)]))
        changed[at : at + 4] = word.to_bytes(4, "little")
    open(path, "wb").write(changed)
    _C.seal_artefact(path)
    try:
        plan = _C.Plan(path, num_threads=2, memory_limit=1 << 28)
        plan.run([(features, 0, len(features[0]), None)], outputs)
        ran += 1
    except (MegasegError, ValueError, TypeError):
        refused += 1
print(ran, refused)
"""


def run_altered(path: Path, features: str, outputs: list[str]) -> tuple[int, int]:
    """How many of 400 programs with up to three words of nonsense ran and were refused; a crash is an error."""
    seed = str(np.random.default_rng().integers(2**31))
    command = [sys.executable, "-c", FUZZ, str(path), seed, features, ",".join(outputs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, (seed, done.returncode, done.stderr)
    ran, refused = (int(count) for count in done.stdout.split())
    return ran, refused


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

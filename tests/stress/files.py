"""Files that change while they are used, and files that are damaged: a right answer or a ``MegasegError``.

A checkpoint or compiled model is swapped for another version at a random call of Python code under way, so that a
trial repeats exactly; a version may also arrive in pieces, as ``cp`` writes it.
"""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stress.findings import Finding, expect
from support import random_checkpoint, random_features, small_config

from megaseg import Engine, load_checkpoint
from megaseg.engine.backends.native.artefact import compile_checkpoint
from megaseg.engine.model.checkpoint import Checkpoint, save_checkpoint
from megaseg.errors import MegasegError

LONG_AGO = 1_000_000_000  # modification time of whole files: clocks of file systems tick in milliseconds
CONFIG = small_config(max_length=3)
Load = Callable[[Path], Engine]


def replaced(rng: np.random.Generator, broken: bool = False) -> None:
    """A version is swapped for another while it is loaded, compiled or run; afterwards each file gives its own logits.

    The control mixes both versions' tensors.
    """
    with _versions(rng, ".mseg" if rng.random() < 0.3 else ".safetensors") as versions:
        ways = [versions.by_rename, versions.by_copy, versions.in_a_loop]
        load: Load = versions.mixed if broken else _compiled if rng.integers(3) == 0 else _loaded
        ways[0 if broken else rng.integers(3 if versions.suffix == ".safetensors" else 2)](load, rng)
        for number in range(2):
            own = _loaded(versions.whole[number]).logits(versions.movie)
            expect(versions.which(own) == number, f"untouched version {number} gives other logits afterwards")


def damaged(rng: np.random.Generator, broken: bool = False) -> None:
    """A compiled model with flipped bits or without its end is refused or right; a kept one is compiled again.

    The control computes the checksum anew.
    """
    with _versions(rng, ".mseg") as versions:
        data, path = versions.whole[0].read_bytes(), versions.path
        for _ in range(10):
            path.write_bytes(_flipped(data, rng) if broken or rng.integers(3) else data[: rng.integers(len(data))])
            if broken:
                _seal(path)
            logits = _answer(lambda: _loaded(path).logits(versions.movie))
            expect(logits is None or versions.which(logits) == 0, "a damaged compiled model gives other logits")
    with _versions(rng, ".safetensors") as versions:
        _loaded(versions.path)
        (kept,) = versions.cache.glob("*.mseg")
        kept.write_bytes(_flipped(kept.read_bytes(), rng))
        own = _answer(lambda: _loaded(versions.path).logits(versions.movie))
        expect(
            own is not None and versions.which(own) == 0,
            "a damaged kept file spoils its checkpoint",
        )


class _Versions:
    """Two versions of a model as whole files, a path that holds the first of them, and a cache of their own."""

    def __init__(self, folder: Path, rng: np.random.Generator, suffix: str) -> None:
        self.suffix, self.cache, self.path = suffix, folder / "cache", folder / f"model{suffix}"
        self.whole = [folder / f"version-{number}{suffix}" for number in range(2)]
        self.movie = random_features(CONFIG, 8, int(rng.integers(1 << 30)))
        self.checkpoints = [random_checkpoint(CONFIG, int(seed)) for seed in rng.integers(1 << 30, size=2)]
        for path, checkpoint in zip(self.whole, self.checkpoints, strict=True):
            compile_checkpoint(checkpoint, path) if suffix == ".mseg" else save_checkpoint(path, checkpoint)
        self._logits = [Engine.from_checkpoint(c, num_threads=1).logits(self.movie) for c in self.checkpoints]
        self._copy(0, self.path)

    def which(self, logits: np.ndarray) -> int | None:
        """The version whose logits these are, bit for bit."""
        return next((number for number in range(2) if np.array_equal(logits, self._logits[number])), None)

    def _copy(self, number: int, path: Path) -> None:
        path.write_bytes(self.whole[number].read_bytes())
        os.utime(path, (LONG_AGO + number, LONG_AGO + number))

    def mixed(self, path: Path) -> Engine:
        """An engine of both versions' tensors in turn."""
        tensors = {name: self.checkpoints[i % 2].tensors[name] for i, name in enumerate(CONFIG.tensor_shapes())}
        return Engine.from_checkpoint(Checkpoint(CONFIG, tensors), num_threads=1)

    def by_rename(self, load: Load, rng: np.random.Generator) -> None:
        new = self.path.with_name("new")
        self._copy(1, new)
        self._run(load, rng, [lambda: os.replace(new, self.path)])

    def by_copy(self, load: Load, rng: np.random.Generator) -> None:
        data = self.whole[1].read_bytes()
        cuts = sorted({0, len(data), *(int(cut) for cut in rng.integers(len(data), size=rng.integers(3)))})
        pieces = [data[begin:end] for begin, end in itertools.pairwise(cuts)]
        steps: list[Callable[[], object]] = [lambda: self.path.write_bytes(b"")]
        self._run(load, rng, steps + [lambda piece=piece: _append(self.path, piece) for piece in pieces])

    def _run(self, load: Load, rng: np.random.Generator, steps: list[Callable[[], object]]) -> None:
        """Load and run twice, with the steps at random calls on the way."""

        def work() -> None:
            engine = load(self.path)
            for _ in range(2):
                logits = engine.logits(self.movie)
                expect(self.which(logits) is not None, f"logits of neither version, {load.__name__} from {self.suffix}")

        calls = _count(lambda: _answer(work))
        for kept in self.cache.glob("*"):
            kept.unlink()
        first = int(rng.integers(calls))
        at = [first, *(first + int(gap) for gap in rng.integers(1, max(2, calls // 4), size=len(steps) - 1))]
        with _at_calls(dict(zip(itertools.accumulate(at, max), steps, strict=False))):
            _answer(work)

    def in_a_loop(self, load: Load, rng: np.random.Generator) -> None:
        """Two threads load, while the versions take turns as fast as they can."""
        findings: list[Finding] = []

        def work() -> None:
            try:
                for _ in range(3):
                    logits = _answer(lambda: load(self.path).logits(self.movie))
                    expect(logits is None or self.which(logits) is not None, "logits of neither version, in a loop")
            except Finding as finding:
                findings.append(finding)

        threads = [threading.Thread(target=work, daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()
        for number in itertools.cycle((1, 0)):
            new = self.path.with_name("new")
            self._copy(number, new)
            os.replace(new, self.path)
            if not any(thread.is_alive() for thread in threads):
                break
        for finding in findings:
            raise finding


@contextmanager
def _versions(rng: np.random.Generator, suffix: str) -> Iterator[_Versions]:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEGASEG_CACHE", f"{folder}/cache")
        yield _Versions(Path(folder), rng, suffix)


def _loaded(path: Path) -> Engine:
    return Engine.from_checkpoint(path, num_threads=1)


def _compiled(path: Path) -> Engine:
    """By way of ``compile_checkpoint``, as ``megaseg compile`` does."""
    if path.suffix == ".mseg":
        return _loaded(path)
    output = path.with_name("compiled.mseg")
    compile_checkpoint(load_checkpoint(path), output)
    return _loaded(output)


def _answer(work: Callable[[], Any]) -> Any:
    """What the work gives; None where it ends in a ``MegasegError``."""
    try:
        return work()
    except MegasegError:
        return None
    except Finding:
        raise
    except Exception as error:
        raise Finding(f"{type(error).__name__}: {error}") from error


def _append(path: Path, piece: bytes) -> None:
    with path.open("ab") as file:
        file.write(piece)


def _count(work: Callable[[], object]) -> int:
    """Calls that Python code makes in this thread while it works."""
    calls = itertools.count()
    sys.setprofile(lambda frame, event, _: next(calls) if "call" in event else None)
    try:
        work()
    finally:
        sys.setprofile(None)
    return next(calls)


@contextmanager
def _at_calls(steps: dict[int, Callable[[], object]]) -> Iterator[None]:
    """Do something at some of the calls that Python code makes in this thread."""
    calls = itertools.count()

    def hook(_: object, event: str, __: object) -> None:
        if "call" in event and (step := steps.get(next(calls))):
            step()

    sys.setprofile(hook)
    try:
        yield
    finally:
        sys.setprofile(None)


def _flipped(data: bytes, rng: np.random.Generator) -> bytes:
    flipped = bytearray(data)
    for bit in rng.integers(8 * len(data), size=rng.choice([1, 1, 2, 8])):
        flipped[bit // 8] ^= 1 << (bit % 8)
    return bytes(flipped)


def _seal(path: Path) -> None:
    from megaseg import _C

    _C.seal_artefact(str(path))

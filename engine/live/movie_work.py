"""What a backend has to run for one whole movie, a part at a time, and the movie's outputs when all of it has run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from megaseg.engine.backends.excerpts import excerpts_of, movie_rows
from megaseg.engine.backends.protocol import Check, Excerpt, Rows
from megaseg.engine.graph.sequences import Strided, Windows
from megaseg.engine.inputs.features import Features
from megaseg.engine.live.segmenter import Segmenter


class MovieWork(Protocol):
    """A movie's work: ``take`` some, run it, ``give`` its outputs back; after an error take it again."""

    def wanted(self) -> int:
        """Windows (shots, where the model sees whole movies) that have not run."""
        ...

    def take(self, most: int) -> Sequence[Excerpt]:
        """The next excerpts, of at most this many windows where the movie can be divided."""
        ...

    def give(self, runs: Sequence[Rows]) -> Rows | None:
        """The outputs of what was taken; those of the movie once all has run."""
        ...


class CentredWork:
    """A window around each shot: an excerpt is a run of neighbouring shots."""

    def __init__(self, engine: Segmenter, source: Features, sequences: Windows, check: Check | None) -> None:
        self._check = check
        self._arrays, self._half = engine.to_model_rows(source), sequences.half
        self._shots = len(self._arrays[0])
        self._begin = self._end = 0  # of what was taken last
        self._done: list[Rows] = []

    def wanted(self) -> int:
        return self._shots - self._begin

    def take(self, most: int) -> Sequence[Excerpt]:
        self._end = min(self._shots, self._begin + most)
        first, last = max(0, self._begin - self._half), self._end + self._half
        rows = self._begin - first, self._end - first
        return [Excerpt([array[first:last] for array in self._arrays], *rows, check=self._check, row=self._begin)]

    def give(self, runs: Sequence[Rows]) -> Rows | None:
        self._done += runs
        self._begin = self._end
        if self.wanted():
            return None
        return tuple(np.concatenate(parts) for parts in zip(*self._done, strict=True))


class StridedWork:
    """Windows that overlap: an excerpt each."""

    def __init__(self, engine: Segmenter, source: Features, check: Check | None) -> None:
        self._config, self._shots = engine.config, source.num_shots
        self._excerpts = [replace(excerpt, check=check) for excerpt in excerpts_of(engine.config, source)]
        self._done: list[Rows] = []

    def wanted(self) -> int:
        return len(self._excerpts) - len(self._done)

    def take(self, most: int) -> Sequence[Excerpt]:
        return self._excerpts[len(self._done) :][: max(1, most)]

    def give(self, runs: Sequence[Rows]) -> Rows | None:
        self._done += runs
        return None if self.wanted() else movie_rows(self._config, self._done, self._shots)


class WholeWork:
    """A movie at once."""

    def __init__(self, engine: Segmenter, source: Features, check: Check | None) -> None:
        self._excerpt = replace(Excerpt.whole(engine.to_model_rows(source)), check=check)

    def wanted(self) -> int:
        return self._excerpt.last

    def take(self, most: int) -> Sequence[Excerpt]:
        return [self._excerpt]

    def give(self, runs: Sequence[Rows]) -> Rows | None:
        return runs[0]


def work_of(engine: Segmenter, source: Features, check: Check | None = None) -> MovieWork:
    """A movie's work on a model; ``check`` is how it is decided, where it is.

    Raises:
        FeatureError: features that do not fit the model.
    """
    sequences = engine.config.sequences
    if isinstance(sequences, Windows):
        return CentredWork(engine, source, sequences, check)
    kind = StridedWork if isinstance(sequences, Strided) else WholeWork
    return kind(engine, source, check)

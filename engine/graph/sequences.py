"""How a movie's rows become sequences: centred windows, the whole movie at once, or overlapping windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Windows:
    """One sequence a row: its centred window of ``length`` rows (odd), the edges of the movie repeated."""

    length: int

    @property
    def half(self) -> int:
        """Rows that a window sees to either side of its middle."""
        return self.length // 2


@dataclass(frozen=True, slots=True)
class Whole:
    """One sequence a movie, of at most ``most`` rows."""

    most: int


@dataclass(frozen=True, slots=True)
class Strided:
    """Windows of ``length`` consecutive rows, one every ``step`` rows; each row is read from the window it is nearest.

    The engine cuts the movie. The model's graph is one of whole sequences, ``Whole(length)``: a window is a sequence.
    """

    length: int
    step: int


Sequences = Windows | Whole | Strided


def windows(begin: int, end: int, length: int, rows: int) -> Indices:
    """Row indices (end - begin, length) of the windows around rows ``begin`` to ``end`` of a movie of ``rows`` rows."""
    return (np.arange(begin, end)[:, None] + np.arange(length) - length // 2).clip(0, rows - 1)


def strided(rows: int, length: int, step: int) -> Indices:
    """First rows (w,) of the windows of a movie: 0, step, 2 step and so on, the last window at the movie's end.

    A movie of at most ``length`` rows is one window.
    """
    last = max(0, rows - length)
    return np.append(np.arange(0, last, step), last)


def nearest(rows: int, length: int, starts: Indices) -> Indices:
    """Of each row (rows,), the window whose middle is nearest, of two equally near the earlier."""
    middles = 2 * starts + min(length, rows) - 1  # in half rows
    return np.searchsorted(middles[:-1] + middles[1:], 4 * np.arange(rows))


def stitched(parts: Sequence[NDArray[Any]], rows: int, length: int, step: int) -> NDArray[Any]:
    """A movie's rows (rows, ...) of those of its ``strided`` windows, each from the ``nearest`` window."""
    starts = strided(rows, length, step)
    edges = np.searchsorted(nearest(rows, length, starts), np.arange(len(starts) + 1))
    cut = zip(parts, starts, edges, edges[1:], strict=False)
    return np.concatenate([part[begin - start : end - start] for part, start, begin, end in cut])


def alignment_slots(length: int, slots: int) -> Indices:
    """Slot floor(j slots / length) of each position j: its progress through the sequence (supplementary, Table 1a)."""
    return np.arange(length) * slots // length


def longest_of(sequences: Sequences) -> int:
    """The most rows that one sequence has."""
    return sequences.most if isinstance(sequences, Whole) else sequences.length

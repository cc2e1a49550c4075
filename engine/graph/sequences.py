"""How a movie's rows become sequences: centred windows, or the whole movie at once."""

from __future__ import annotations

from dataclasses import dataclass

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


Sequences = Windows | Whole


def windows(begin: int, end: int, length: int, rows: int) -> Indices:
    """Row indices (end - begin, length) of the windows around rows ``begin`` to ``end`` of a movie of ``rows`` rows."""
    return (np.arange(begin, end)[:, None] + np.arange(length) - length // 2).clip(0, rows - 1)


def alignment_slots(length: int, slots: int) -> Indices:
    """Slot floor(j slots / length) of each position j: its progress through the sequence (supplementary, Table 1a)."""
    return np.arange(length) * slots // length


def longest_of(sequences: Sequences) -> int:
    """The most rows that one sequence has."""
    return sequences.most if isinstance(sequences, Whole) else sequences.length

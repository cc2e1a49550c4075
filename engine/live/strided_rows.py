"""Rows of strided windows while a movie's shots come one by one: which windows can run, and which rows are final.

A row is read from the window whose middle is nearest. It is final once no window that may still come can be nearer,
wherever the movie ends, so that rows are those of the whole movie.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.graph.sequences import Strided, nearest, strided

Rows = NDArray[np.float32]


class StridedRows:
    """Where a stream of shots stands; ``give`` takes the rows of windows and gives those that are final.

    ``hold_last``: the latest shot waits for the next one even where its row is known, since it may be the movie's last.
    """

    def __init__(self, sequences: Strided, *, hold_last: bool = False) -> None:
        self.length, self.step = sequences.length, sequences.step
        self.num_shots, self.closed = 0, False
        self.done = 0  # rows that were given
        self._hold = int(hold_last)
        self._windows = 0  # that have run
        self._latest: tuple[int, Rows] | None = None  # the last of them: its first shot, and its rows

    def windows(self, most: int | None = None) -> list[range]:
        """Shots of the next windows that can run, in order."""
        starts = self._starts()[self._windows :][:most]
        return [range(start, min(start + self.length, self.num_shots)) for start in starts]

    def _starts(self) -> list[int]:
        """First shots of the windows that the movie surely has, whether they have run or not."""
        if self.closed:
            return strided(self.num_shots, self.length, self.step).tolist() if self.num_shots else []
        return list(range(0, self.num_shots - self.length + 1, self.step))

    def final(self, most: int | None = None) -> int:
        """End of the rows that are final once ``most`` more windows have run; None: all that can."""
        starts = self._starts()
        count = len(starts) if most is None else min(len(starts), self._windows + most)
        if count == 0:
            return self.done
        if self.closed and count == len(starts):
            return self.num_shots
        after = starts[count] if count < len(starts) else max(starts[-1] + 1, self.num_shots - self.length)
        end = self._boundary(starts[count - 1], min(after, starts[count - 1] + self.step))
        return max(self.done, end if self.closed else min(end, self.num_shots - self._hold))

    def _boundary(self, start: int, after: int) -> int:
        """End of the rows that are nearer to the window from ``start`` than to the next, from shot ``after``."""
        gap = after - start
        pair = nearest(gap + self.length, self.length, np.array([0, gap]))
        return start + int(np.searchsorted(pair, 1))

    def give(self, rows: Sequence[Rows]) -> Rows | None:
        """Rows that are final now that the next windows have run, with these ``rows``; None where there are none."""
        found = []
        for window, own in zip(self.windows(len(rows)), rows, strict=True):
            if self._latest is not None:
                found += self._take(self._boundary(self._latest[0], window.start))
            self._latest = (window.start, own)
            self._windows += 1
        if self._latest is not None:
            found += self._take(self.final(0))
        return np.concatenate(found) if found else None

    def _take(self, end: int) -> list[Rows]:
        """Rows of the latest window up to shot ``end`` that were not given."""
        assert self._latest is not None
        start, rows = self._latest
        first, self.done = self.done, max(self.done, end)
        return [rows[first - start : end - start]] if first < end else []

    @property
    def needed(self) -> int:
        """First shot that windows still to run may see."""
        return self._needed(self._windows)

    def _needed(self, windows: int) -> int:
        if self.closed:
            return ([*self._starts(), self.num_shots])[windows]
        return max(0, min(windows * self.step, self.num_shots - self.length))

    def needed_from(self, row: int) -> int:
        """First shot that a stream which has given the rows before ``row`` sees again when it goes on."""
        return self._needed(self._window_of(row))

    def _window_of(self, row: int) -> int:
        """The first window that may give a row, wherever the movie ends."""
        starts = self._starts()
        if self.closed and row >= self.num_shots:
            return len(starts)
        rows = self.num_shots if self.closed else self.length + max(0, len(starts) - 1) * self.step
        return int(nearest(max(rows, row + 1), self.length, np.array(starts or [0]))[row])

    def resume(self, num_shots: int, done: int, *, closed: bool) -> None:
        """Go on where ``done`` rows of ``num_shots`` shots were given: the window of the next row runs again."""
        self.num_shots, self.done, self.closed = num_shots, done, closed
        self._windows = self._window_of(done)

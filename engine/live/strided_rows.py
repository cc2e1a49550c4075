"""Rows of strided windows while a movie's shots come one by one: which windows can run, and which rows are final.

A row is read from the window whose middle is nearest. It is final once no window that may still come can be nearer,
wherever the movie ends, so that rows are those of the whole movie.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.graph.sequences import Strided, nearest

Rows = NDArray[np.float32]


class StridedRows:
    """Where a stream of shots stands; ``give`` takes the rows of windows and gives those that are final.

    ``hold_last``: the latest shot waits for the next one even where its row is known, since it may be the movie's last.
    No call's work grows with the movie.
    """

    def __init__(self, sequences: Strided, *, hold_last: bool = False) -> None:
        self.length, self.step = sequences.length, sequences.step
        self.num_shots, self.closed = 0, False
        self.done = 0  # rows that were given
        self._hold = int(hold_last)
        self._windows = 0  # that have run
        self._latest: tuple[int, Rows] | None = None  # the last of them: its first shot, and its rows

    @property
    def _last(self) -> int:
        """First shot of the last window, if the movie ends here."""
        return max(0, self.num_shots - self.length)

    @property
    def _count(self) -> int:
        """Windows that the movie surely has, whether they have run or not: as ``strided`` has them, where it ends."""
        if self.closed:
            return -(-self._last // self.step) + 1 if self.num_shots else 0
        return self._last // self.step + 1 if self.num_shots >= self.length else 0

    def _start(self, window: int) -> int:
        """First shot of a window that the movie surely has."""
        return min(window * self.step, self._last)

    def windows(self, most: int | None = None) -> list[range]:
        """Shots of the next windows that can run, in order."""
        count = self._count if most is None else min(self._count, self._windows + most)
        starts = map(self._start, range(self._windows, count))
        return [range(start, min(start + self.length, self.num_shots)) for start in starts]

    def final(self, most: int | None = None) -> int:
        """End of the rows that are final once ``most`` more windows have run; None: all that can."""
        known = self._count
        count = known if most is None else min(known, self._windows + most)
        if count == 0:
            return self.done
        if self.closed and count == known:
            return self.num_shots
        start = self._start(count - 1)
        after = self._start(count) if count < known else max(start + 1, self._last)
        end = self._boundary(start, min(after, start + self.step))
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
        """First shot that windows from this one on may see."""
        return self.num_shots if self.closed and windows >= self._count else self._start(windows)

    def needed_from(self, row: int) -> int:
        """First shot that a stream which has given the rows before ``row`` sees again when it goes on."""
        return self._needed(self._window_of(row))

    def _window_of(self, row: int) -> int:
        """The first window that may give a row, wherever the movie ends."""
        count = self._count
        if self.closed and row >= self.num_shots:
            return count
        window = max(0, (row - self._boundary(0, self.step)) // self.step + 1)  # of windows every ``step`` shots
        if self.closed and window == count - 2 and row >= self._boundary(self._start(window), self._last):
            window += 1  # the last window is nearer than a step
        return max(0, min(window, count - 1))

    def resume(self, num_shots: int, done: int, *, closed: bool) -> None:
        """Go on where ``done`` rows of ``num_shots`` shots were given: the window of the next row runs again."""
        self.num_shots, self.done, self.closed = num_shots, done, closed
        self._windows = self._window_of(done)

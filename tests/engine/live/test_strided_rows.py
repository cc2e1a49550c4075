"""Rows of strided windows as shots come: those of the whole movie, however many come at once, also after a snapshot."""

from __future__ import annotations

import numpy as np
import pytest

from megaseg.engine.graph.sequences import Strided, nearest, strided
from megaseg.engine.live.strided_rows import StridedRows


class Movie:
    """A movie of which ``come`` shots have come; the rows of its windows tell the window's first shot and the shot."""

    def __init__(self, sequences: Strided, shots: int, *, hold_last: bool) -> None:
        self.sequences, self.shots, self.hold_last = sequences, shots, hold_last
        self.rows, self.found, self.kept = StridedRows(sequences, hold_last=hold_last), [], 0

    def push(self, shots: int) -> None:
        self.rows.num_shots = min(self.shots, self.rows.num_shots + shots)

    def run(self, most: int | None = None) -> None:
        windows = self.rows.windows(most)
        assert all(self.kept <= window.start for window in windows), "a window sees shots that were let go"
        final = self.rows.final(len(windows))
        given = self.rows.give([np.array([[own.start, shot] for shot in own], np.float32) for own in windows])
        assert self.rows.done == final
        self.found += [] if given is None else [given]

    def resume(self) -> None:
        """Go on from what a snapshot has."""
        old, self.rows = self.rows, StridedRows(self.sequences, hold_last=self.hold_last)
        self.kept = old.needed_from(old.done)
        self.rows.resume(old.num_shots, old.done, closed=old.closed)


@pytest.mark.parametrize("seed", range(300))
def test_rows_are_those_of_the_whole_movie(seed: int) -> None:
    rng = np.random.default_rng(seed)
    length = int(rng.integers(1, 9))
    step, shots = int(rng.integers(1, length + 1)), int(rng.integers(1, 40))
    movie = Movie(Strided(length, step), shots, hold_last=bool(seed % 2))
    while movie.rows.num_shots < shots:
        movie.push(int(rng.integers(1, 12)))
        if rng.random() < 0.3:
            movie.run(1)
        movie.run()
        movie.kept = movie.rows.needed
        assert movie.rows.num_shots - movie.kept <= length + step
        late = movie.rows.num_shots - movie.rows.done
        assert late <= max(length - 1, int(movie.hold_last)), "a row waits for length - 1 more shots at most"
        if rng.random() < 0.3:
            movie.resume()
    movie.rows.closed = True
    movie.run(int(rng.integers(0, 3)))
    if rng.random() < 0.3:
        movie.resume()
    movie.run()
    starts = strided(shots, length, step)
    whole = np.stack([starts[nearest(shots, length, starts)], np.arange(shots)], axis=1)
    assert np.array_equal(np.concatenate(movie.found), whole)
    assert movie.rows.windows() == []


def test_a_row_is_final_as_soon_as_no_window_can_be_nearer() -> None:
    """Every possible end of the movie gives the rows that are final, and some end another row after them."""
    for length, step in ((5, 2), (6, 3), (4, 4), (3, 1)):
        for come in range(1, 20):
            rows = StridedRows(Strided(length, step))
            rows.num_shots = come
            final = rows.final()
            owners = []
            for shots in range(come, come + 3 * length):
                starts = strided(shots, length, step)
                owners.append(starts[nearest(shots, length, starts)][:come].tolist())
            same = [len({own[shot] for own in owners}) == 1 for shot in range(come)]
            known = [same[shot] and owners[0][shot] + length <= come for shot in range(come)]
            assert known == [True] * final + [False] * (come - final)


def test_no_call_grows_with_the_movie(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def watched(rows: int, length: int, starts: np.ndarray) -> np.ndarray:
        sizes.append(rows)
        return nearest(rows, length, starts)

    monkeypatch.setattr("megaseg.engine.live.strided_rows.nearest", watched)
    rows = StridedRows(Strided(8, 4))
    rows.num_shots = 10**9
    rows.resume(10**9, 10**9 - 7, closed=False)
    assert len(rows.windows()) <= 2
    assert 10**9 - 12 <= rows.needed_from(rows.done) <= rows.needed <= rows.final() <= 10**9
    rows.give([np.zeros((8, 1), np.float32) for _ in rows.windows()])
    rows.closed = True
    assert len(rows.windows()) <= 1
    assert max(sizes) <= 16

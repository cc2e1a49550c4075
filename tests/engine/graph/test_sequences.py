"""How rows become windows and windows rows again, against loops."""

from __future__ import annotations

import numpy as np
import pytest

from megaseg.engine.graph.sequences import nearest, stitched, strided

SIZES = [(length, step) for length in (1, 2, 5, 8) for step in range(1, length + 1)]


@pytest.mark.parametrize(("length", "step"), SIZES)
def test_windows_start_every_step_and_the_last_one_at_the_end(length: int, step: int) -> None:
    for rows in range(1, 30):
        expected = [start for start in range(0, rows, step) if start + length < rows] + [max(0, rows - length)]
        assert strided(rows, length, step).tolist() == expected


@pytest.mark.parametrize(("length", "step"), SIZES)
def test_a_row_is_read_from_the_window_whose_middle_is_nearest(length: int, step: int) -> None:
    for rows in range(1, 30):
        starts, own = strided(rows, length, step), min(length, rows)
        middles = [start + (own - 1) / 2 for start in starts]
        found = nearest(rows, length, starts)
        assert found.tolist() == [int(np.argmin([abs(row - m) for m in middles])) for row in range(rows)]
        assert all(starts[window] <= row < starts[window] + own for row, window in enumerate(found))


@pytest.mark.parametrize(("length", "step"), SIZES)
def test_stitched_windows_are_the_rows_again(length: int, step: int) -> None:
    for rows in (1, 2, 7, 8, 9, 29):
        values = np.arange(rows * 2).reshape(rows, 2)
        starts = strided(rows, length, step)
        parts = [values[start : start + length] for start in starts]
        np.testing.assert_array_equal(stitched(parts, rows, length, step), values)


def test_stitched_rows_are_of_their_nearest_windows() -> None:
    parts = [np.full((5, 1), window) for window in range(4)]  # from rows 0, 2, 4 and 5
    assert stitched(parts, 10, 5, 2)[:, 0].tolist() == [0, 0, 0, 0, 1, 1, 2, 3, 3, 3]

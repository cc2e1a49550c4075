"""Shots that end where a person said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaseg.media.shots.cuts import ended_before, shots_between

FRAMES = 40
cuts_of = st.lists(st.integers(1, FRAMES - 1), max_size=6, unique=True).map(lambda cuts: np.array(cuts, np.int64))


@given(cuts_of, st.lists(st.integers(-2, FRAMES + 2), max_size=4).map(lambda cuts: np.array(cuts, np.int64)))
def test_shots_are_cut_further(cuts: np.ndarray, wanted: np.ndarray) -> None:
    found = ended_before(shots_between(cuts, FRAMES), wanted)
    assert found.tolist() == shots_between(np.concatenate([cuts, wanted]), FRAMES).tolist()


@given(cuts_of, cuts_of, st.integers(1, 6))
def test_found_ends_close_to_new_ones_give_way(cuts: np.ndarray, wanted: np.ndarray, reach: int) -> None:
    new = [cut for cut in wanted.tolist() if cut not in cuts]
    kept = [cut for cut in cuts.tolist() if cut in wanted or all(abs(cut - other) > reach for other in new)]
    expected = shots_between(np.array([*kept, *new], np.int64), FRAMES).tolist()
    assert ended_before(shots_between(cuts, FRAMES), wanted, reach).tolist() == expected


@pytest.mark.parametrize("cut", [0, 9, 10, 30])
def test_frames_that_are_left_out_stay_out(cut: int) -> None:
    listed = np.array([[1, 8], [11, 29]])
    assert ended_before(listed, np.array([cut]), 3).tolist() == listed.tolist()

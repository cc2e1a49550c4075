"""What differs between two results: each change is made, and found."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaseg import Segmentation
from megaseg.engine.results.schema import Decision
from megaseg.engine.results.segmentation import joined
from megaseg.errors import FeatureError
from megaseg.evaluation.differences import Renamed, TrackDifferences, differences, nearest_pairs


def movie(boundaries: list[int], names: dict[int, str] | None = None, **about: Any) -> Segmentation:
    """A movie of 20 shots, of one and a half seconds each where it has a time base."""
    times = np.stack([np.arange(20) * 3, np.arange(20) * 3 + 3], axis=1) if about else None
    scores = np.full(20, 0.2, np.float32)
    own = Segmentation.from_scores("scene", scores, Decision(locked=boundaries), times, about.get("time_base"))
    return dataclasses.replace(own, names={"scenes": names} if names else {})


def test_each_kind_of_difference() -> None:
    before = movie([2, 6, 10, 15], {0: "Quay", 3: "Ship"})
    now = movie([2, 8, 15, 18], {0: "Harbour", 16: "Storm"})
    found = differences(before, now)
    assert found.unit == "shots"
    assert found.tracks == {
        "scenes": TrackDifferences(
            same=2,
            moved=((Fraction(7), Fraction(9)),),
            removed=(Fraction(11),),
            added=(Fraction(19),),
            renamed=(
                Renamed(Fraction(0), "Quay", "Harbour"),
                Renamed(Fraction(3), "Ship", None),
                Renamed(Fraction(16), None, "Storm"),
            ),
        )
    }
    assert found.any
    assert not differences(before, before).any
    assert differences(before, now, Fraction(0)).tracks["scenes"].moved == ()


def test_times_count_where_both_have_them() -> None:
    before, now = movie([4], time_base=Fraction(1, 2)), movie([5], time_base=Fraction(1, 2))
    found = differences(before, now)
    assert found.unit == "seconds"
    assert found.tracks["scenes"].moved == ((Fraction(15, 2), Fraction(9)),)
    assert differences(before, movie([5])).unit == "shots"
    fast = movie([4], time_base=Fraction(1001, 2002))
    assert not differences(before, fast).any


def test_a_track_that_only_one_has_differs() -> None:
    acts = Segmentation.from_scores("act", np.eye(20, 5, dtype=np.float32), Decision())
    found = differences(movie([3]), joined([movie([3]), acts]))
    assert not found.tracks["scenes"].any
    assert len(found.tracks["acts"].added) == 5


def test_movies_that_cannot_be_compared() -> None:
    other = Segmentation.from_scores("scene", np.zeros(9, np.float32), Decision())
    with pytest.raises(FeatureError, match="expected the same number of shots, or times in both, got 20 and 9"):
        differences(movie([]), other)
    with pytest.raises(FeatureError, match="tolerance"):
        differences(movie([]), movie([]), Fraction(-1))


places = st.lists(st.integers(0, 30).map(Fraction), unique=True, max_size=8).map(sorted)


@given(places, places, st.integers(0, 6).map(Fraction))
def test_pairs_are_near_and_none_is_left_that_could_be(a: list[Fraction], b: list[Fraction], within: Fraction) -> None:
    pairs = nearest_pairs(a, b, within)
    assert all(abs(a[i] - b[j]) <= within for i, j in pairs)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    left, over = set(range(len(a))) - {i for i, _ in pairs}, set(range(len(b))) - {j for _, j in pairs}
    assert not [(i, j) for i in left for j in over if abs(a[i] - b[j]) <= within]
    assert {a[i] for i, j in pairs if a[i] == b[j]} == set(a) & set(b)

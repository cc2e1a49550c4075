"""Figures of boundaries in time: against brute force, and against chunkseg."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from megaseg import Segmentation
from megaseg.engine.results.schema import Decision
from megaseg.errors import FeatureError
from megaseg.evaluation.boundaries import Boundaries
from megaseg.evaluation.in_time import SECONDS, agreement, in_time

LONG = 300  # seconds
times_of = st.lists(st.integers(1, 2 * LONG - 1), unique=True, max_size=12).map(
    lambda halves: tuple(Fraction(half, 2) for half in sorted(halves))
)


def movie(shots: int, boundaries: list[int], base: Fraction | None = Fraction(1)) -> Boundaries:
    """A result with shots of ten ticks."""
    times = None if base is None else np.stack([np.arange(shots) * 10, np.arange(shots) * 10 + 10], axis=1)
    scores = np.zeros(shots, np.float32)
    result = Segmentation.from_scores("scene", scores, Decision(locked=boundaries), times, base)
    seconds = None if base is None else tuple((shot + 1) * 10 * base for shot in boundaries)
    return Boundaries(seconds, None if base is None else shots * 10 * base, result, tuple(boundaries))


@given(times_of, times_of, st.integers(0, 20).map(lambda half: Fraction(half, 2)))
def test_pairs_are_as_many_as_can_be(found: tuple[Fraction, ...], true: tuple[Fraction, ...], within: Fraction) -> None:
    near = csr_matrix([[abs(a - b) <= within for b in true] for a in found]) if found and true else None
    expected = 0 if near is None else int((maximum_bipartite_matching(near) >= 0).sum())
    own = agreement(found, true, within)
    assert own.pairs == expected
    assert own.precision == pytest.approx(expected / len(found) if found else float(not true))
    assert own.recall == pytest.approx(expected / len(true) if true else float(not found))


@pytest.mark.slow  # loading chunkseg takes seconds
@settings(max_examples=30, deadline=None)
@given(times_of, times_of, st.integers(1, LONG))
def test_window_errors_are_those_of_chunkseg(
    found: tuple[Fraction, ...], true: tuple[Fraction, ...], duration: int
) -> None:
    metrics = pytest.importorskip("chunkseg.metrics", reason="chunkseg is the oracle")
    chunked = pytest.importorskip("chunkseg.core").build_target_sequence
    found, true = (tuple(time for time in times if time < duration) for times in (found, true))
    marks = [chunked(float(duration), [float(time) for time in times], 6.0) for times in (found, true)]
    own = in_time(Boundaries(found, Fraction(duration)), Boundaries(true))
    if not len(marks[0]):
        assert (own.pk, own.window_diff) == (0, 0)
        return
    expected = metrics.compute_metrics(*marks)
    if len(marks[1]) > 2:  # shorter ones have no window, which its wrapper counts as an error
        assert own.pk == pytest.approx(expected["pk"])
        assert own.window_diff == pytest.approx(expected["window_diff"])
    collar = metrics.collar_boundary_f1([float(time) for time in true], [float(time) for time in found], 2.0)
    assert own.seconds[2].f1 >= collar["collar_f1"] - 1e-9  # which takes the nearest pairs, not the most


def test_figures_by_hand() -> None:
    own = in_time(
        Boundaries((Fraction(10), Fraction(33), Fraction(70)), Fraction(120)), Boundaries((Fraction(11), Fraction(30)))
    )
    assert [(one.tolerance, one.pairs) for one in own.seconds] == [(0, 0), (1, 1), (2, 1), (5, 2)]
    assert (own.seconds[3].precision, own.seconds[3].recall) == (2 / 3, 1)
    assert own.distance == 2
    assert own.shots == ()
    assert own.pk is not None


def test_a_file_of_milliseconds_has_the_times_that_it_was_written_from() -> None:
    exact = [Fraction(frame * 1001, 24000) for frame in (101, 202, 500)]
    own = in_time(Boundaries(tuple(exact)), Boundaries(tuple(round(time, 3) for time in exact)), SECONDS[:1])
    assert [(one.tolerance, one.f1) for one in own.seconds] == [(0, 1)]


def test_shots_are_those_of_a_result() -> None:
    predicted = movie(12, [2, 5])
    same = in_time(predicted, movie(12, [3, 5], None))
    assert (same.seconds, same.pk, same.distance) == ((), None, None)
    assert [one.pairs for one in same.shots] == [1, 2, 2]
    listed = in_time(predicted, Boundaries((Fraction(34), Fraction(59), Fraction(200))))  # ends of shots 2, 5 and 10
    assert [one.pairs for one in listed.shots] == [2, 2, 2]
    assert listed.reference == 3
    other = in_time(movie(12, [2, 5]), movie(24, [5, 11], Fraction(1, 2)))
    assert [one.f1 for one in (*other.shots, *other.seconds)] == [1] * 7


def test_what_cannot_be_compared() -> None:
    with pytest.raises(FeatureError, match="times: expected two files with times, or two results of the same shots"):
        in_time(movie(5, [1], None), movie(6, [1], None))
    with pytest.raises(FeatureError, match="times"):
        in_time(movie(5, [1], None), Boundaries((Fraction(3),)))
    with pytest.raises(FeatureError, match="tolerance: expected 0 or more seconds, got -1"):
        in_time(movie(5, [1]), movie(5, [1]), [Fraction(-1)])
    assert in_time(movie(5, []), movie(5, [])).seconds[0].f1 == 1

"""Rules of ad breaks: kept by every answer, and no other answer that keeps them is worth more."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megaseg.errors import FeatureError
from megaseg.export.ads.rules import AdRules, allowed, choose, worth

SOME = st.lists(st.tuples(st.integers(0, 7200), st.integers(-20, 100)), max_size=9, unique_by=lambda row: row[0])
RULES = st.builds(AdRules, spacing=st.integers(0, 2000), per_hour=st.integers(0, 12))


def keeps(rules: AdRules, times: np.ndarray, duration: float) -> bool:
    """The rules in their own words."""
    apart = np.diff(times)
    hours = [np.count_nonzero((times >= start) & (times < start + 3600)) for start in times]
    few = len(times) <= rules.per_hour * duration / 3600
    return few and bool((apart >= rules.spacing).all()) and all(count <= rules.per_hour for count in hours)


@settings(max_examples=150, deadline=None)
@given(SOME, RULES, st.integers(0, 10_000))
def test_breaks_are_the_best_that_keep_the_rules(rows: list[tuple[int, int]], rules: AdRules, duration: int) -> None:
    rows.sort()
    times, values = (np.array([row[column] for row in rows], dtype=np.float64) for column in (0, 1))
    chosen = choose(rules, times, values, float(duration))
    assert keeps(rules, times[chosen], duration)
    gap = max(rules.spacing, 3600 / rules.per_hour if rules.per_hour else math.inf)
    most = math.floor(rules.per_hour * duration / 3600)
    sets = (
        list(some)
        for count in range(min(most, len(rows)) + 1)
        for some in itertools.combinations(range(len(rows)), count)
    )
    best = max((values[some].sum() for some in sets if (np.diff(times[some]) >= gap).all()), default=0.0)
    assert values[chosen].sum() == max(best, 0.0)
    assert (values[chosen] > 0).all()


def test_of_equal_worth_the_earlier_break_stays() -> None:
    times, values = np.array([1000.0, 1300.0, 3000.0]), np.array([0.5, 0.5, 0.5])
    assert choose(AdRules(), times, values, 3600.0).tolist() == [0, 2]


def test_any_number_an_hour_is_a_limit() -> None:
    times, values = np.array([400.0, 800.0]), np.ones(2)
    assert choose(AdRules(spacing=0, per_hour=1e308), times, values, 3600.0).tolist() == [0, 1]
    assert choose(AdRules(spacing=0, per_hour=0), times, values, 3600.0).tolist() == []


def test_head_tail_and_speech_are_protected() -> None:
    rules = AdRules(head=100, tail=200)
    times = np.array([99.0, 100.0, 400.0, 450.0, 500.0, 800.0, 801.0])
    speech = np.array([[0.0, 60.0], [400.0, 500.0], [790.0, 800.5]])
    assert allowed(rules, times, speech, 1000.0).tolist() == [False, True, True, False, True, False, False]
    assert allowed(rules, times, np.zeros((0, 2)), 1000.0).tolist() == [False, True, True, True, True, True, False]


def test_silence_is_worth_more_and_an_acts_end_less() -> None:
    scores = np.array([0.5, 0.5, 0.5, 0.5, 0.5])
    loudness = np.array([-10.0, -40.0, -60.0, -np.inf, np.nan])
    ends = np.array([False, False, False, True, False])
    assert worth(scores, loudness, ends).tolist() == [0.5, 0.75, 1.0, 0.75, 0.5]
    assert worth(scores, None, ends).tolist() == [0.5, 0.5, 0.5, 0.25, 0.5]


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, "5", True])
def test_rules_of_no_film_are_refused(value: object) -> None:
    with pytest.raises(FeatureError, match=r"ads\.spacing: expected a finite number of at least 0"):
        AdRules(spacing=value)  # type: ignore[arg-type]

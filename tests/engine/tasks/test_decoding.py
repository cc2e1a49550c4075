"""Decisions against brute force over every allowed choice."""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaseg.engine.tasks.decoding import scene_boundaries, softmax, turning_points
from megaseg.errors import FeatureError

scores_of = st.lists(st.integers(0, 20), min_size=1, max_size=9).map(lambda values: np.array(values) / 20)


def allowed(shots: int, length: int) -> list[tuple[int, ...]]:
    """Every set of boundaries whose scenes are all at least ``length`` shots long."""
    sets = (chosen for count in range(shots) for chosen in combinations(range(shots - 1), count))
    return [chosen for chosen in sets if (np.diff([-1, *chosen, shots - 1]) >= length).all() or not chosen]


@given(scores_of, st.integers(0, 20).map(lambda value: value / 20), st.integers(1, 4))
def test_threshold_takes_the_best_allowed_boundaries(scores: np.ndarray, threshold: float, length: int) -> None:
    found = tuple(scene_boundaries(scores, threshold=threshold, min_scene_length=length).tolist())
    assert found in allowed(len(scores), length)
    assert all(scores[shot] >= threshold for shot in found)
    gain = lambda chosen: sum(scores[shot] - threshold for shot in chosen)  # noqa: E731
    assert gain(found) == pytest.approx(max(gain(chosen) for chosen in allowed(len(scores), length)))
    if length == 1:
        assert found == tuple(np.flatnonzero(scores[:-1] >= threshold))


@given(scores_of, st.integers(1, 4), st.integers(1, 4))
def test_count_takes_the_best_allowed_boundaries(scores: np.ndarray, scenes: int, length: int) -> None:
    choices = [chosen for chosen in allowed(len(scores), length) if len(chosen) == scenes - 1]
    if not choices:
        with pytest.raises(FeatureError, match="num_scenes"):
            scene_boundaries(scores, threshold=0.5, num_scenes=scenes, min_scene_length=length)
        return
    found = tuple(scene_boundaries(scores, threshold=0.5, num_scenes=scenes, min_scene_length=length).tolist())
    assert found in choices
    assert scores[list(found)].sum() == pytest.approx(max(scores[list(chosen)].sum() for chosen in choices))


@given(st.integers(1, 7), st.integers(1, 4), st.randoms(use_true_random=False))
def test_ordered_turning_points_are_the_best_increasing_ones(shots: int, classes: int, random: object) -> None:
    logits = np.random.default_rng(random.randint(0, 2**32)).standard_normal((shots, classes))  # type: ignore[attr-defined]
    assert turning_points(logits).tolist() == logits.argmax(axis=0).tolist()
    if shots <= classes:
        with pytest.raises(FeatureError, match="ordered: expected at least"):
            turning_points(logits, ordered=True)
        return
    probabilities = softmax(logits, axis=0)
    value = lambda rows: sum(np.log(probabilities[row, k]) for k, row in enumerate(rows))  # noqa: E731
    found = turning_points(logits, ordered=True)
    assert (np.diff(found) > 0).all()
    assert value(found) == pytest.approx(max(map(value, combinations(range(shots - 1), classes))))
    assert found.tolist() == turning_points(np.log(probabilities), ordered=True).tolist()


@pytest.mark.parametrize("scale", [1e3, 1e6, 1e30])
def test_turning_points_are_ordered_where_probabilities_underflow(scale: float) -> None:
    """The last shot, which no ordered turning point takes, has all the probability that float32 can hold."""
    logits = np.array([[0, 5], [50, 10], [100, 90], [60, 80], [400, 500]]) * scale
    assert turning_points(logits.astype(np.float32), ordered=True).tolist() == [2, 3]
    # Nor does it matter how far above the others one turning point's logits are.
    assert turning_points(logits + np.array([0, 1e9 * scale]), ordered=True).tolist() == [2, 3]


@given(st.integers(0, 10_000))
def test_shots_without_any_probability_are_the_last_resort(seed: int) -> None:
    """As few of them as can be, and of what is left the best."""
    rng = np.random.default_rng(seed)
    logits = np.where(rng.random((7, 3)) < 0.6, -np.inf, rng.normal(0, 30, (7, 3)))

    def value(rows: tuple[int, ...]) -> tuple[int, float]:
        picked = logits[list(rows), range(3)]
        some = np.isfinite(logits).any(axis=0)
        peaks = np.where(some, logits.max(axis=0), 0)
        possible = np.isfinite(picked)
        return int(possible.sum()), float(np.where(possible, picked - peaks, 0).sum())

    found = value(tuple(turning_points(logits, ordered=True).tolist()))
    assert found == pytest.approx(max(map(value, combinations(range(6), 3))))


@pytest.mark.parametrize(
    "choice",
    [
        {"threshold": 1.5},
        {"threshold": float("nan")},
        {"min_scene_length": 0},
        {"num_scenes": 0},
        {"num_scenes": 9},
    ],
)
def test_impossible_decisions_are_refused(choice: dict[str, float]) -> None:
    with pytest.raises(FeatureError, match=next(iter(choice))):
        scene_boundaries(np.full(8, 0.5), **{"threshold": 0.5, **choice})  # type: ignore[arg-type]


@st.composite
def edited_movies(draw: st.DrawFn) -> tuple[np.ndarray, list[int], list[int]]:
    """Scores, and some shots before the last one locked and some others barred."""
    scores = draw(scores_of)
    edits = draw(st.lists(st.sampled_from(["free", "free", "locked", "barred"]), min_size=len(scores) - 1))
    of = lambda kind: [shot for shot, edit in enumerate(edits[: len(scores) - 1]) if edit == kind]  # noqa: E731
    return scores, of("locked"), of("barred")


@given(edited_movies(), st.integers(0, 20).map(lambda value: value / 20), st.integers(1, 4))
def test_threshold_with_edits_takes_the_best_others(
    movie: tuple[np.ndarray, list[int], list[int]], threshold: float, length: int
) -> None:
    scores, locked, barred = movie
    shots = len(scores)
    choice = {"threshold": threshold, "min_scene_length": length, "locked": locked, "barred": barred}
    found = scene_boundaries(scores, **choice).tolist()

    def fits(chosen: tuple[int, ...]) -> bool:
        """Every scene with an end that no person locked is long enough."""
        ends = sorted({-1, *chosen, *locked, shots - 1})
        fixed = {-1, *locked, shots - 1}
        return all(b - a >= length for a, b in pairwise(ends) if not {a, b} <= fixed)

    free = [shot for shot in range(shots - 1) if shot not in locked + barred and scores[shot] >= threshold]
    choices = [chosen for count in range(len(free) + 1) for chosen in combinations(free, count) if fits(chosen)]
    gain = lambda chosen: sum(scores[shot] - threshold + 1e-9 for shot in chosen)  # noqa: E731
    others = tuple(shot for shot in found if shot not in locked)
    assert set(locked) <= set(found)
    assert others in choices
    assert gain(others) == pytest.approx(max(map(gain, choices)), abs=1e-8)


@given(edited_movies(), st.integers(1, 5), st.integers(1, 3))
def test_count_with_edits_takes_the_best_others(
    movie: tuple[np.ndarray, list[int], list[int]], scenes: int, length: int
) -> None:
    scores, locked, barred = movie
    choice = {"threshold": 0.5, "min_scene_length": length, "num_scenes": scenes, "locked": locked, "barred": barred}
    choices = [
        chosen
        for chosen in allowed(len(scores), length)
        if len(chosen) == scenes - 1 and set(locked) <= set(chosen) and not set(barred) & set(chosen)
    ]
    if not choices:
        with pytest.raises(FeatureError, match=r"num_scenes|locked"):
            scene_boundaries(scores, **choice)
        return
    found = tuple(scene_boundaries(scores, **choice).tolist())
    assert found in choices
    assert scores[list(found)].sum() == pytest.approx(max(scores[list(chosen)].sum() for chosen in choices))


def test_a_locked_boundary_moves_its_neighbours_and_stays_however_short_its_scene_is() -> None:
    scores = np.array([0.1, 0.9, 0.2, 0.8, 0.1, 0.7, 0.1])
    assert scene_boundaries(scores, threshold=0.5, locked=[0, 2], barred=[3]).tolist() == [0, 1, 2, 5]
    assert scene_boundaries(scores, threshold=0.5, locked=[2], min_scene_length=2).tolist() == [2]
    assert scene_boundaries(scores, threshold=0.5, locked=[0, 5], min_scene_length=2).tolist() == [0, 3, 5]
    assert scene_boundaries(scores, threshold=0.5, locked=[4], num_scenes=3).tolist() == [1, 4]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"locked": [7]}, "locked: expected shots before the last of 8, from 0 to 6, got 7"),
        ({"barred": [9]}, "barred: expected shots before the last of 8, from 0 to 6, got 9"),
        ({"locked": [-1]}, "locked: .* got -1"),
        ({"barred": [1, 10**30]}, f"barred: .* got {10**30}"),
        ({"locked": [2, 3], "barred": [3]}, "locked: expected shots that are not barred as well, got 3"),
        ({"locked": [1, 2, 3], "num_scenes": 3}, "num_scenes: expected at least 4 scenes for 3 locked boundaries"),
        (
            {"locked": [2, 3], "num_scenes": 3, "min_scene_length": 2},
            "locked: .* at least 2 shots .* got 1 up to shot 3",
        ),
        ({"barred": [0, 1, 2, 3, 4, 5], "num_scenes": 3}, "num_scenes: expected at most 2 scenes"),
        ({"locked": [3], "barred": [1, 5], "num_scenes": 4, "min_scene_length": 2}, "num_scenes: expected at most 2"),
    ],
)
def test_impossible_edits_are_refused(choice: dict[str, Any], message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        scene_boundaries(np.full(8, 0.5), **{"threshold": 0.5, **choice})

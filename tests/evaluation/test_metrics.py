"""Metrics against cases worked out by hand, brute force and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaseg.engine.tasks.decoding import scene_boundaries
from megaseg.errors import FeatureError
from megaseg.evaluation import best_threshold, mean_iou, scene_metrics
from megaseg.evaluation.metrics import average_precision

sklearn_metrics = pytest.importorskip("sklearn.metrics")


def u8(*values: int) -> np.ndarray:
    return np.array(values, np.uint8)


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_mean_iou_by_hand() -> None:
    # True scenes 0-1, 2-4; predicted 0-2, 3-4. Best IoU: 2/3, 2/3 one way; 2/3, 2/3 the other.
    assert mean_iou(u8(0, 1, 0, 0, 1), u8(0, 0, 1, 0, 1)) == pytest.approx(2 / 3)
    # One predicted scene over two true ones of 1 and 3: (1/4 + 3/4) / 2 against 3/4.
    assert mean_iou(u8(1, 0, 0, 1), u8(0, 0, 0, 0)) == pytest.approx((0.5 + 0.75) / 2)
    assert mean_iou(u8(0, 1, 0, 0, 1), u8(0, 1, 0, 0, 0)) == 1  # the movie's end is a boundary anyway
    assert mean_iou(u8(1), u8(0)) == 1


marks = st.lists(st.booleans(), min_size=1, max_size=30)


@given(marks, marks)
def test_mean_iou_against_sets(first: list[bool], second: list[bool]) -> None:
    n = min(len(first), len(second))

    def scenes(last: list[bool]) -> list[set[int]]:
        result, start = [], 0
        for shot in range(n):
            if last[shot] or shot == n - 1:
                result.append(set(range(start, shot + 1)))
                start = shot + 1
        return result

    a, b = scenes(first[:n]), scenes(second[:n])
    forward = np.mean([max(len(x & y) / len(x | y) for y in b) for x in a])
    backward = np.mean([max(len(x & y) / len(x | y) for x in a) for y in b])
    assert mean_iou(first[:n], second[:n]) == pytest.approx((forward + backward) / 2)
    assert mean_iou(first[:n], second[:n]) == pytest.approx(mean_iou(second[:n], first[:n]))


def test_scene_metrics_by_hand() -> None:
    labels = {"a": u8(0, 1, 0, 1), "b": u8(1, 0, 1)}
    scores = {"a": f32(0.1, 0.9, 0.6, 0.99), "b": f32(0.4, 0.2, 0.0)}
    result = scene_metrics(labels, scores, 0.3)
    # Scored: a's first three, b's first two: truth 0 1 0 1 0, scores .1 .9 .6 .4 .2.
    assert (result.movies, result.shots, result.boundaries) == (2, 5, 2)
    assert result.ap == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert result.map == pytest.approx(1)
    assert (result.precision, result.recall, result.f1) == pytest.approx((2 / 3, 1, 0.8))
    assert result.f1_at_half == pytest.approx(0.5)
    assert result.miou == pytest.approx((mean_iou(labels["a"], scores["a"] >= 0.3) + 1) / 2)


@given(st.integers(0, 10_000))
def test_pooled_figures_agree_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 40, 4)
    labels = {str(i): (rng.random(n) < 0.3).astype(np.uint8) for i, n in enumerate(sizes)}
    labels["0"][0] = 1
    scores = {name: np.round(rng.random(len(marks)), 1).astype(np.float32) for name, marks in labels.items()}
    result = scene_metrics(labels, scores, 0.45)
    truth = np.concatenate([part[:-1] for part in labels.values()])
    score = np.concatenate([part[:-1] for part in scores.values()])
    assert result.ap == pytest.approx(sklearn_metrics.average_precision_score(truth, score))
    assert result.f1 == pytest.approx(sklearn_metrics.f1_score(truth, score >= 0.45, zero_division=0))


def test_average_precision_without_a_true_item_is_0() -> None:
    assert average_precision(u8(0, 0), f32(0.1, 0.2)) == 0


@given(st.integers(0, 10_000))
def test_best_threshold_is_best(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = (rng.random(25) < 0.4).astype(np.uint8)
    truth[0] = 1
    scores = np.round(rng.random(25), 1).astype(np.float32)

    def f1(threshold: float) -> float:
        found = scores >= threshold
        return 2 * int((truth & found).sum()) / int(truth.sum() + found.sum())

    chosen = best_threshold(truth, scores)
    assert 0 < chosen < 1
    assert f1(chosen) == pytest.approx(max(f1(t) for t in np.arange(0.005, 1, 0.01)))


@pytest.mark.parametrize("top", [1.0, 0.5, 1e-6, 1e-30, 2.0**-149])
@pytest.mark.parametrize("boundaries", [1, 2, 3])
def test_the_threshold_parts_neighbouring_float32(top: float, boundaries: int) -> None:
    """Near 1, near 0 and as denormal numbers; also where C has rounded it up to float32."""
    scores = [np.float32(top)]
    while len(scores) < 4:
        scores.append(np.nextafter(scores[-1], np.float32(-1)) if scores[-1] else scores[-1])
    ranked = np.maximum(np.array(scores), 0)
    truth = (np.arange(4) < boundaries).astype(np.uint8)
    chosen = best_threshold(truth, ranked)
    assert 0 < chosen < 1
    near = np.float32(chosen)
    rounded_up = near if float(near) >= chosen else np.nextafter(near, np.float32(2))
    expected = (truth.astype(bool) & (ranked > 0)).tolist()
    assert (ranked.astype(np.float64) >= chosen).tolist() == (ranked >= rounded_up).tolist() == expected
    if ranked[boundaries - 1]:
        assert scene_metrics({"a": np.append(truth, 1)}, {"a": np.append(ranked, f32(0))}, chosen).f1 == 1


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_scores_that_are_all_the_same_have_a_threshold(score: float) -> None:
    assert best_threshold(u8(1, 0, 0), f32(score, score, score)) == 0.5


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.7, 0.9, 1 / 3, 0.5])
def test_scores_are_compared_with_the_threshold_as_segment_does(threshold: float) -> None:
    """float32's nearest neighbours of the threshold, of which one equals it when it is rounded to float32."""
    near = np.float32(threshold)
    scores = np.array([near, np.nextafter(near, np.float32(0)), np.nextafter(near, np.float32(1)), 0.01, 0.99])
    scores = np.append(scores, 0.0).astype(np.float32)
    found = np.zeros(6, np.uint8)
    found[scene_boundaries(scores, threshold=threshold)] = 1
    result = scene_metrics({"a": found}, {"a": scores}, threshold)
    assert (result.f1, result.precision, result.recall, result.miou) == (1, 1, 1, 1)


def test_nothing_to_score_is_an_error() -> None:
    with pytest.raises(FeatureError):
        scene_metrics({}, {}, 0.5)
    with pytest.raises(FeatureError):
        scene_metrics({"a": u8(0, 0, 1)}, {"a": f32(0.1, 0.2, 0.3)}, 0.5)
    with pytest.raises(FeatureError):
        best_threshold(u8(0, 0), f32(0.1, 0.2))

"""Which rows a decision may rest on: with these exact and others wrong by up to the margin, the decision is exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megaseg.engine.tasks.act import ActDecision
from megaseg.engine.tasks.scene import SceneDecision
from megaseg.engine.tasks.task import DecidingTask, deciding_task

SCENES, ACTS = deciding_task("scene", "test"), deciding_task("act", "test")
THRESHOLDS = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1e-30, 0.5, 1 - 2**-25, 1.0]))


def decided(task: DecidingTask, logits: np.ndarray, decision: Any) -> list[int]:
    track = task.decide(task.scores(logits), logits, decision)
    return [point.shot for point in track.points] or track.boundaries.tolist()


def mixed(task: DecidingTask, exact: np.ndarray, margin: float, decision: Any, seed: int) -> np.ndarray:
    """Logits wrong by up to the margin, mostly by all of it; exact where the decision may rest on them."""
    rng = np.random.default_rng(seed)
    error = rng.choice([-1.0, 1.0, 0.3], exact.shape) * 0.999 * margin
    fast = (exact + error).astype(np.float32)
    unsure = task.unsure(fast, margin, decision)
    assert unsure.shape == (len(exact),)
    assert unsure.dtype == np.bool_
    return np.where(unsure[:, None], exact, fast)


@settings(deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 60),
    st.floats(1e-3, 3),
    THRESHOLDS,
    st.integers(1, 6),
    st.booleans(),
    st.sampled_from([0.1, 2.0, 30.0]),
)
def test_scenes_of_any_decision(
    seed: int, shots: int, margin: float, threshold: float, length: int, exact_number: bool, spread: float
) -> None:
    rng = np.random.default_rng(seed)
    exact = (spread * rng.standard_normal((shots, 2))).astype(np.float32)
    edits = rng.permutation(max(0, shots - 1))[:4].tolist()
    number = int(rng.integers(1, max(1, shots // length) + 1)) if exact_number else None
    own: dict[str, Any] = {} if exact_number else {"locked": edits[:2], "barred": edits[2:]}
    decision = SceneDecision(threshold, length, number, **own)
    logits = mixed(SCENES, exact, margin, decision, seed)
    assert decided(SCENES, logits, decision) == decided(SCENES, exact, decision)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(6, 60), st.floats(1e-4, 1), st.booleans())
def test_turning_points_in_any_order(seed: int, shots: int, margin: float, ordered: bool) -> None:
    exact = np.random.default_rng(seed).standard_normal((shots, 5)).astype(np.float32)
    decision = ActDecision(ordered)
    logits = mixed(ACTS, exact, margin, decision, seed)
    assert decided(ACTS, logits, decision) == decided(ACTS, exact, decision)


def test_only_rows_near_the_threshold_are_unsure() -> None:
    logits = np.zeros((5, 2), np.float32)
    logits[:, 1] = [-3, -0.15, 0, 0.15, 3]
    expected = {0.05: [2], 0.1: [1, 2, 3], 2.0: [0, 1, 2, 3, 4], 0.0: []}
    for margin, rows in expected.items():
        assert np.flatnonzero(SCENES.unsure(logits, margin, SceneDecision(0.5))).tolist() == rows, margin
    assert np.flatnonzero(SCENES.unsure(logits, 0.1, SceneDecision(0.5, 2))).tolist() == [1, 2, 3, 4]
    assert SCENES.unsure(logits, 0.1, SceneDecision(0.5, num_scenes=2)).all()


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_no_row_is_unsure_where_the_threshold_leaves_no_choice(threshold: float) -> None:
    logits = np.random.default_rng(0).standard_normal((50, 2)).astype(np.float32)
    assert not SCENES.unsure(logits, 1.0, SceneDecision(threshold)).any()


def test_turning_points_far_ahead_of_all_others_are_sure() -> None:
    logits = np.zeros((40, 5), np.float32)
    logits[[3, 9, 20, 28, 35], range(5)] = 1
    assert not ACTS.unsure(logits, 0.49, ActDecision(ordered=True)).any()
    assert ACTS.unsure(logits, 0.51, ActDecision(ordered=True)).all()

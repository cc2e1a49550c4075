"""Any array at all, through the Engine: the reference's answer, or a ``FeatureError``; never a cast, never a crash."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import random_checkpoint, small_config

pytest.importorskip("torch")

from megaseg import Engine
from megaseg.errors import FeatureError

CHECKPOINTS = {task: random_checkpoint(small_config(task, max_length=9)) for task in ("scene", "act")}
ENGINES = {
    task: Engine.from_checkpoint(checkpoint, compute_type="float32", num_threads=2)
    for task, checkpoint in CHECKPOINTS.items()
}
REFERENCES = {
    task: Engine.from_checkpoint(checkpoint, backend="torch", compute_type="float64")
    for task, checkpoint in CHECKPOINTS.items()
}
WIDTHS = {"clip": 13, "audio": 7}


@st.composite
def arrays(draw: st.DrawFn, shots: int, width: int) -> Any:
    """An array that may be wrong in rank, width, dtype or values, in any memory layout."""
    dtype = draw(st.sampled_from(["f4"] * 6 + ["f2"] * 2 + ["f8", "i4", "u1", "?", "c8", "O"]))
    shape = draw(st.sampled_from([(shots, width)] * 8 + [(shots, width + 1), (shots,), (1, shots, width), (0, width)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    steps = [draw(st.sampled_from([1, 1, 2, -1, -3])) for _ in shape]
    base = rng.standard_normal([size * abs(step) for size, step in zip(shape, steps, strict=True)])
    array = base.astype(dtype)[tuple(slice(None, None, step) for step in steps)]
    if draw(st.booleans()):
        array = np.asfortranarray(array)
    if draw(st.sampled_from([False] * 9 + [True])) and array.dtype.kind == "f" and array.size:
        array = array.copy()
        array.flat[rng.integers(array.size)] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    return array


def acceptable(mapping: dict[str, Any], shots: int, task: str) -> bool:
    return (task == "scene" or shots <= 9) and all(
        array.shape == (shots, WIDTHS[name]) and array.dtype in (np.float16, np.float32) and np.isfinite(array).all()
        for name, array in mapping.items()
    )


@settings(max_examples=300, deadline=None)
@given(data=st.data(), shots=st.integers(1, 12), task=st.sampled_from(["scene", "act"]))
def test_every_array_gives_the_reference_or_a_feature_error(data: st.DataObject, shots: int, task: str) -> None:
    mapping = {name: data.draw(arrays(shots, width), label=name) for name, width in WIDTHS.items()}
    if not acceptable(mapping, shots, task):
        with pytest.raises(FeatureError):
            ENGINES[task].logits(mapping)
        return
    logits, exact = ENGINES[task].logits(mapping), REFERENCES[task].logits(mapping)
    assert (np.abs(logits - exact) <= 2e-5 * np.maximum(1, np.abs(exact))).all()


@pytest.mark.parametrize("value", [None, 3, [1.0], "no-such-file.npz", {"clip": None}, {}, {1: np.zeros((2, 3), "f4")}])
def test_what_is_no_features_at_all(value: Any) -> None:
    with pytest.raises(FeatureError):
        ENGINES["scene"].logits(value)


def test_one_shot_is_one_scene() -> None:
    features = {name: np.ones((1, width), np.float32) for name, width in WIDTHS.items()}
    result = ENGINES["scene"].segment(features)
    assert [(scene.first_shot, scene.last_shot) for scene in result.scenes] == [(0, 0)]

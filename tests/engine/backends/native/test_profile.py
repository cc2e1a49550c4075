"""Profiles: what steps do is counted, not timed; times are there and add up; outputs are those of a plain run."""

from __future__ import annotations

import numpy as np
import pytest
from support import logits_of, random_checkpoint, random_features, small_config

from megaseg import _C
from megaseg.engine.backends.native.backend import NativeBackend
from megaseg.engine.backends.native.profile import Ceilings, Profile, profile
from megaseg.engine.backends.protocol import Excerpt

SHOTS = 110  # more than a chunk of windows
TYPES = [(_C.target(), kind) for kind in _C.compute_types()]
TARGETS = [(target, "float32") for target in _C.available_targets() if target != _C.target()]


def profiled(target: str, kind: str, *, task: str = "scene", cpu_time: bool = False) -> tuple[NativeBackend, Profile]:
    config = small_config(task, max_length=5 if task == "scene" else SHOTS)
    backend = NativeBackend.from_checkpoint(random_checkpoint(config), target=target, compute_type=kind, num_threads=2)
    excerpt = Excerpt.whole(list(random_features(config, SHOTS).values()))
    return backend, profile(backend, [excerpt], repeats=2, cpu_time=cpu_time)


@pytest.mark.parametrize(("target", "kind"), TYPES + TARGETS)
def test_every_step_that_runs_has_a_time_and_a_ceiling(target: str, kind: str) -> None:
    backend, found = profiled(target, kind)
    assert {"linear", "layer_norm"} <= {step.op for step in found.steps}
    assert all(step.calls == 2 and step.rows > 0 and step.seconds > 0 for step in found.steps)  # two chunks
    assert all(step.least > 0 and step.bytes > 0 for step in found.steps)
    assert found.seconds == pytest.approx(found.between + sum(step.seconds for step in found.steps))
    assert set(found.ceilings.products) <= set(_C.compute_types(target))
    assert found.ceilings.products["float32"] > 0
    assert kind == backend.describe()["compute_type"]


def test_operations_and_bytes_are_those_of_the_shapes() -> None:
    _, found = profiled("portable", "float32", task="act")
    heads = [step for step in found.steps if step.what == "float32 24 -> float32 5"]
    assert [step.rows for step in heads] == [SHOTS, SHOTS]  # a modality each
    assert all(step.operations == 2 * SHOTS * 24 * 5 for step in heads)
    assert all(step.bytes >= 4 * (SHOTS * (24 + 5) + 24 * 5) for step in heads)
    (first, *_) = (step for step in found.steps if step.op == "attention")
    tokens = SHOTS + 2
    assert first.operations in {4 * tokens * tokens * 24, 4 * SHOTS * tokens * 24}


def test_groups_sum_up_all_steps() -> None:
    _, found = profiled("portable", "float32", cpu_time=True)
    for groups in (found.by_op(), found.by_kind()):
        assert sum(group.calls for group in groups) == sum(step.calls for step in found.steps)
        assert sum(group.operations for group in groups) == sum(step.operations for step in found.steps)
        assert [group.seconds for group in groups] == sorted((group.seconds for group in groups), reverse=True)
    assert len({group.op for group in found.by_op()}) == len(found.by_op())


def test_a_profile_changes_no_result() -> None:
    config = small_config()
    features = [list(random_features(config, SHOTS).values())]
    backend = NativeBackend.from_checkpoint(random_checkpoint(config))
    before = logits_of(backend, features)[0]
    profile(backend, [Excerpt.whole(features[0])], repeats=1)
    np.testing.assert_array_equal(logits_of(backend, features)[0], before)


def test_the_least_time_is_the_longest_of_products_reading_and_writing() -> None:
    ceilings = Ceilings({"int8": 100.0}, ((16, 8.0, 4.0), (1024, 2.0, 1.0)))
    step = {"product": "int8", "calls": 1, "operations": 0.0, "read": 0.0, "written": 0.0, "weights": 0.0}
    assert ceilings.seconds(step | {"operations": 500.0}, 0, 1) == 5
    assert ceilings.seconds(step | {"read": 32.0}, 0, 1) == 4
    assert ceilings.seconds(step | {"read": 2048.0}, 0, 1) == 1024  # larger than the caches
    assert ceilings.seconds(step | {"written": 32.0}, 0, 1) == 8
    assert ceilings.seconds(step | {"weights": 32.0}, 4096, 2) == 16  # all weights pass before they come again

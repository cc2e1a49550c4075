"""Scenes and acts in one result: JSON, re-deciding, and acts over longer units brought to shots."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import jsonschema
import numpy as np
import pytest

from megaseg.engine.results.movie import MovieSegmentation, on_shots, read_result
from megaseg.engine.results.segmentation import Decision, Segmentation
from megaseg.engine.tasks.decoding import softmax
from megaseg.errors import FeatureError

SHOTS = 12


def scene(shots: int = SHOTS, times: np.ndarray | None = None) -> Segmentation:
    scores = np.random.default_rng(0).random(shots, dtype=np.float32)
    return Segmentation.from_scores("scene", scores, Decision(num_scenes=3), times)


def act(units: int = SHOTS, ordered: bool = True, seed: int = 1) -> Segmentation:
    scores = softmax(np.random.default_rng(seed).standard_normal((units, 5)), axis=0).astype(np.float32)
    return Segmentation.from_scores("act", scores, Decision(ordered=ordered))


def test_both_parts_are_in_one_result_that_reads_back() -> None:
    result = MovieSegmentation(scene(), act())
    assert (len(result.scenes), len(result.turning_points), len(result.acts)) == (3, 5, 6)
    values = json.loads(result.to_json())
    schema = json.loads(resources.files("megaseg.engine.results").joinpath("result.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(values)
    for wrong in ({"schema": "megaseg.segmentation/1"}, {"task": "scene"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**values, **wrong}, schema)
    assert values["act_boundaries"] == [point.shot for point in result.turning_points]
    back = read_result(result.to_json())
    assert isinstance(back, MovieSegmentation)
    assert back.to_dict() == values
    assert isinstance(read_result(scene().to_json()), Segmentation)


def test_each_part_is_decided_again_with_what_is_its_own() -> None:
    result = MovieSegmentation(scene(), act()).redecide(num_scenes=4, ordered=False)
    assert len(result.scenes) == 4
    assert [point.shot for point in result.turning_points] == result.act.scores.argmax(axis=0).tolist()
    assert (result.decision.num_scenes, result.decision.ordered) == (4, False)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((act(), scene()), "got act and scene"),
        ((scene(), act(11)), "the same shots, got 12 and 11"),
        ((scene(times=np.arange(24).reshape(12, 2)), act()), "the same times"),
    ],
)
def test_parts_that_do_not_fit_are_refused(parts: tuple[Segmentation, Segmentation], message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        MovieSegmentation(*parts)


@pytest.mark.parametrize(
    "changes", [{"task": "scene"}, {"act_scores": [[2.0]]}, {"act_scores": [[0.5] * 5]}, {"decision": []}]
)
def test_a_damaged_result_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(FeatureError):
        read_result(json.dumps({**MovieSegmentation(scene(), act()).to_dict(), **changes}))
    values = MovieSegmentation(scene(), act()).to_dict()
    del values["act_scores"]
    with pytest.raises(FeatureError, match="act_scores"):
        read_result(json.dumps(values))


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_acts_over_units_become_acts_over_shots(ordered: bool, seed: int) -> None:
    units, ends = act(7, ordered, seed), np.array([0, 3, 4, 9, 10, 15, 20])
    moved = on_shots(units, ends)
    assert moved.num_shots == 21
    assert [point.shot for point in moved.turning_points] == [int(ends[p.shot]) for p in units.turning_points]
    assert [point.score for point in moved.turning_points] == [point.score for point in units.turning_points]
    assert [part.last_shot for part in moved.acts] == [int(ends[part.last_shot]) for part in units.acts]
    assert moved.redecide(ordered=not ordered).boundaries.tolist() == (
        ends[units.redecide(ordered=not ordered).boundaries].tolist()
    )


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_acts_over_units_keep_their_logits_in_a_movie_that_reads_back(ordered: bool, seed: int) -> None:
    """Nothing but the logits tells shots apart that lie hundreds of nats below the maximum."""
    logits = np.random.default_rng(seed).normal(0, 1000, (7, 5)).astype(np.float32)
    units, ends = Segmentation.from_logits("act", logits, Decision(ordered=ordered)), np.array([0, 3, 4, 9, 10, 15, 20])
    result = MovieSegmentation(scene(21), on_shots(units, ends))
    values = json.loads(result.to_json())
    schema = json.loads(resources.files("megaseg.engine.results").joinpath("result.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(values)
    assert values["act_logits"][1] == [None] * 5
    back = read_result(result.to_json())
    assert back.to_dict() == values
    for own in (result, back):
        assert [point.shot for point in own.turning_points] == ends[[p.shot for p in units.turning_points]].tolist()
        other = units.redecide(ordered=not ordered)
        assert [point.shot for point in own.redecide(ordered=not ordered).turning_points] == (
            ends[[point.shot for point in other.turning_points]].tolist()
        )


@pytest.mark.parametrize("ends", [[0, 1, 2], [0, 1, 2, 3, 4, 5, 5], [-1, 1, 2, 3, 4, 5, 6]])
def test_ends_that_do_not_fit_the_units_are_refused(ends: list[int]) -> None:
    with pytest.raises(FeatureError, match="last shots of 7 units"):
        on_shots(act(7), np.array(ends))

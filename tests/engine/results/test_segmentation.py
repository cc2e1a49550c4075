"""The result: its parts agree with each other, with the JSON Schema, and survive re-deciding."""

from __future__ import annotations

import json
from fractions import Fraction
from importlib import resources
from typing import Any

import jsonschema
import numpy as np
import pytest

from megaseg import Segmentation
from megaseg.engine.results.schema import Decision
from megaseg.errors import FeatureError

SCORES = np.array([0.1, 0.9, 0.2, 0.6, 0.1, 0.3], dtype=np.float32)
TIMES = np.array([[k * 1001, (k + 1) * 1001] for k in range(6)], dtype=np.int64)


def scenes(**decision: Any) -> Segmentation:
    return Segmentation.from_scores("scene", SCORES, Decision(**decision), TIMES, Fraction(1, 24000))


def acts(ordered: bool = False) -> Segmentation:
    scores = np.zeros((6, 5), dtype=np.float32)
    scores[[1, 1, 3, 2, 5], range(5)] = [0.5, 0.9, 0.8, 0.7, 0.6]
    scores[0, 0], scores[4, 3] = 0.4, 0.3
    return Segmentation.from_scores("act", scores, Decision(ordered=ordered))


def saturated(ordered: bool = True) -> Segmentation:
    """All float32 probability is on the last shot, and what comes before is told apart by the logits alone."""
    logits = np.array([[0, 5], [50, 10], [100, 90], [60, 80], [400, 500]], np.float32)
    return Segmentation.from_logits("act", logits, Decision(ordered=ordered))


def schema() -> Any:
    return json.loads(resources.files("megaseg.engine.results").joinpath("result.schema.json").read_text())


def test_scenes_cover_the_movie_and_carry_exact_times() -> None:
    result = scenes()
    assert result.boundaries.tolist() == [1, 3]
    assert [(scene.first_shot, scene.last_shot) for scene in result.scenes] == [(0, 1), (2, 3), (4, 5)]
    assert [scene.score for scene in result.scenes] == pytest.approx([0.9, 0.6, 1.0])
    assert (result.scenes[1].start_ticks, result.scenes[1].end_ticks) == (2002, 4004)
    assert result.to_dict()["scenes"][1]["end_seconds"] == pytest.approx(4004 / 24000)


def test_the_last_shot_is_never_a_boundary() -> None:
    result = Segmentation.from_scores("scene", np.ones(1, np.float32), Decision())
    assert result.boundaries.size == 0
    assert [(scene.first_shot, scene.last_shot) for scene in result.scenes] == [(0, 0)]


def test_acts_end_at_turning_points() -> None:
    result = acts()
    assert [point.shot for point in result.turning_points] == [1, 1, 3, 2, 5]
    # Two turning points share shot 1 (the stronger scores the act), and the one on the last shot ends no act.
    assert [(act.first_shot, act.last_shot) for act in result.acts] == [(0, 1), (2, 2), (3, 3), (4, 5)]
    assert result.acts[0].score == pytest.approx(0.9)
    ordered = acts(ordered=True)
    assert [point.shot for point in ordered.turning_points] == [0, 1, 2, 3, 4]
    assert len(ordered.acts) == 6
    assert ordered.turning_points[2].name == "point of no return"


def test_redecide_keeps_the_scores_and_what_is_not_given() -> None:
    result = scenes(min_scene_length=2)
    assert result.redecide(threshold=0.05).boundaries.tolist() == [1, 3]
    fewer = result.redecide(num_scenes=2)
    assert fewer.boundaries.tolist() == [1]
    assert fewer.decision.min_scene_length == 2
    assert fewer.redecide(threshold=0.5).boundaries.tolist() == [1, 3]
    assert fewer.scores is result.scores


@pytest.mark.parametrize("result", [scenes(), scenes(num_scenes=3), acts(), acts(ordered=True), saturated()])
def test_json_follows_the_schema_and_reads_back(result: Segmentation) -> None:
    values = json.loads(result.to_json())
    jsonschema.Draft202012Validator(schema()).validate(values)
    assert Segmentation.from_dict(values).to_dict() == values
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**values, "scenes": [{"first_shot": 0}]}, schema())


def test_acts_are_decided_on_logits_however_often_they_are_read_back() -> None:
    result = saturated()
    assert not result.scores[:-1].any()
    assert [point.shot for point in result.turning_points] == [2, 3]
    for _ in range(2):
        result = Segmentation.from_json(result.to_json())
        assert result.boundaries.tolist() == [2, 3]
        assert [point.shot for point in result.redecide(ordered=False).turning_points] == [4, 4]
    assert result.redecide(ordered=False).redecide(ordered=True).to_dict() == saturated().to_dict()


def test_a_result_without_logits_is_decided_on_its_scores() -> None:
    values = json.loads(saturated().to_json())
    del values["logits"]
    jsonschema.validate(values, schema())
    result = Segmentation.from_dict(values)
    assert result.logits is None
    assert [point.shot for point in result.redecide(ordered=False).turning_points] == [4, 4]
    assert result.boundaries.tolist() == [0, 1]  # all that its scores, zeros but for the last shot, can say


@pytest.mark.parametrize(
    "logits",
    [[], [[0.0, 1.0]] * 4, [[0.0]] * 5, [[0.0, 1e39]] * 5, [[0.0, float("nan")]] * 5, [[0.0, "a"]] * 5, 7, [None] * 5],
)
def test_logits_that_do_not_fit_are_refused(logits: Any) -> None:
    with pytest.raises(FeatureError, match="result"):
        Segmentation.from_dict({**saturated().to_dict(), "logits": logits})


@pytest.mark.parametrize("result", [scenes(), saturated()], ids=["scene", "act"])
@pytest.mark.parametrize(
    "wrong",
    [
        *({"threshold": value} for value in (-0.1, 1.1, 10**400, float("nan"), float("inf"), "0.5", True)),
        *({"min_scene_length": value} for value in (0, 1.5, True, float("nan"))),
        *({"num_scenes": value} for value in (0, -3, 2.0, True)),
        *({"ordered": value} for value in ("no", 1, 0.0)),
    ],
    ids=str,
)
def test_a_decision_that_no_movie_allows_is_refused_whatever_the_task(
    result: Segmentation, wrong: dict[str, Any]
) -> None:
    (name,) = wrong
    with pytest.raises(FeatureError, match=f"{name}: expected"):
        result.redecide(**wrong)
    values = result.to_dict()
    with pytest.raises(FeatureError, match=f"{name}: expected"):
        Segmentation.from_dict({**values, "decision": {**values["decision"], **wrong}})


def test_a_decision_takes_the_numbers_of_numpy() -> None:
    decision = Decision(np.float32(0.25), np.int64(2), np.uint8(3), np.bool_(True))  # type: ignore[arg-type]
    assert decision == Decision(0.25, 2, 3, True)
    assert json.loads(scenes().redecide(num_scenes=np.int64(2)).to_json())["decision"]["num_scenes"] == 2


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"schema": "megaseg.segmentation/2"}',
        '{"schema": "megaseg.segmentation/1"}',
        "[1" + 5000 * "0",
    ],
)
def test_what_is_not_a_result_is_refused(text: str) -> None:
    with pytest.raises(FeatureError, match=r"schema|result"):
        Segmentation.from_json(text)


def test_a_result_that_an_editor_of_texts_saved_is_read() -> None:
    assert Segmentation.from_json("\ufeff" + scenes().to_json()).to_dict() == scenes().to_dict()

"""Scenes and acts in one result: JSON, re-deciding, and acts over longer units brought to shots."""

from __future__ import annotations

import dataclasses
import json
from importlib import resources
from typing import Any

import jsonschema
import numpy as np
import pytest

from megaseg.engine.results.schema import Decision
from megaseg.engine.results.segmentation import Segmentation, joined, on_shots
from megaseg.engine.tasks.decoding import softmax
from megaseg.errors import FeatureError

SHOTS = 12


def scene(shots: int = SHOTS, times: np.ndarray | None = None) -> Segmentation:
    scores = np.random.default_rng(0).random(shots, dtype=np.float32)
    return Segmentation.from_scores("scene", scores, Decision(num_scenes=3), times)


def act(units: int = SHOTS, ordered: bool = True, seed: int = 1) -> Segmentation:
    scores = softmax(np.random.default_rng(seed).standard_normal((units, 5)), axis=0).astype(np.float32)
    return Segmentation.from_scores("act", scores, Decision(ordered=ordered))


def schema() -> Any:
    return json.loads(resources.files("megaseg.engine.results").joinpath("result.schema.json").read_text())


def test_both_tracks_are_in_one_result_that_reads_back() -> None:
    result = joined([act(), scene()])
    assert list(result.tracks) == ["scenes", "acts"]
    assert (len(result.scenes), len(result.turning_points), len(result.acts)) == (3, 5, 6)
    values = json.loads(result.to_json())
    jsonschema.Draft202012Validator(schema()).validate(values)
    for wrong in ({"schema": "megaseg.segmentation/2"}, {"task": "scene"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**values, **wrong}, schema())
    assert values["act_boundaries"] == [point.shot for point in result.turning_points]
    assert Segmentation.from_json(result.to_json()).to_dict() == values
    assert Segmentation.from_json(json.dumps(values, sort_keys=True)).to_dict() == values


def test_the_attributes_of_a_movie_are_those_of_its_tracks() -> None:
    result, alone = joined([scene(), act()]), (scene(), act())
    assert result.task == "movie"
    assert result.num_shots == SHOTS
    assert result.boundaries.tolist() == alone[0].boundaries.tolist()
    assert np.array_equal(result.scores, alone[0].scores)
    assert result.decision == Decision(num_scenes=3, ordered=True)
    assert result.scenes == alone[0].scenes
    assert (result.acts, result.turning_points) == (alone[1].acts, alone[1].turning_points)


def test_the_json_of_a_movie_has_no_array_twice() -> None:
    values = joined([scene(), act()]).to_dict()
    assert set(values["tracks"]["scenes"]) == {"kind", "decision", "boundaries", "segments", "points"}
    assert set(values["tracks"]["acts"]) == {"kind", "decision", "boundaries", "segments", "points"}
    assert values["tracks"]["acts"]["kind"] == "act"
    assert values["tracks"]["acts"]["decision"] == {"ordered": True}
    assert values["tracks"]["acts"]["segments"] == values["acts"]
    assert values["tracks"]["acts"]["points"] == values["turning_points"]
    assert values["tracks"]["scenes"]["boundaries"] == values["boundaries"]


def test_each_track_is_decided_again_with_what_is_its_own() -> None:
    result = joined([scene(), act()]).redecide(num_scenes=4, ordered=False)
    assert len(result.scenes) == 4
    assert [point.shot for point in result.turning_points] == result.tracks["acts"].scores.argmax(axis=0).tolist()
    assert (result.decision.num_scenes, result.decision.ordered) == (4, False)


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ((act(), act()), "got two of acts"),
        ((scene(), act(11)), "scenes and acts over the same shots, got 12 and 11"),
        ((scene(times=np.arange(24).reshape(12, 2)), act()), "the same times"),
    ],
)
def test_results_that_do_not_fit_are_refused(results: tuple[Segmentation, Segmentation], message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        joined(results)


def test_no_results_make_none() -> None:
    with pytest.raises(FeatureError, match="results: expected at least one, got none"):
        joined([])


def test_a_track_is_under_its_own_name_and_of_a_known_task() -> None:
    track = scene().tracks["scenes"]
    for tracks, message in (
        ({"weird": track}, "track 'scenes' under its own name, got 'weird'"),
        ({"scenes": track, "more": track}, "track 'scenes' under its own name, got 'more'"),
        ({"scenes": dataclasses.replace(track, task="chapter")}, "scenes of a task scene or act, got 'chapter'"),
        ({"scenes": track.segments}, "a Track as 'scenes', got tuple"),
    ):
        with pytest.raises(FeatureError, match=f"tracks: expected .*{message}"):
            Segmentation(tracks)  # type: ignore[arg-type]


def test_a_result_without_tracks_is_refused() -> None:
    with pytest.raises(FeatureError, match="tracks: expected at least one"):
        Segmentation({})


@pytest.mark.parametrize(
    "changes",
    [
        {"task": "scene"},
        {"act_scores": [[2.0]]},
        {"act_scores": [[0.5] * 5]},
        {"decision": []},
        {"decision": {"threshold": 0.25, "min_scene_length": 1, "num_scenes": 3, "ordered": True}},
        {"tracks": {}},
        {"tracks": []},
        {"tracks": [1]},
        {"tracks": {"scenes": {"kind": "synopsis"}}},
        {"tracks": {"scenes": {"kind": "scene", "decision": {"threshold": 2.0}}}},
        {"tracks": {"scenes": {"kind": "scene", "decision": {"loudness": 2.0}}}},
    ],
    ids=str,
)
def test_a_damaged_result_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(FeatureError, match="result: expected"):
        Segmentation.from_json(json.dumps({**joined([scene(), act()]).to_dict(), **changes}))


def test_a_missing_array_is_named() -> None:
    values = joined([scene(), act()]).to_dict()
    del values["act_scores"]
    with pytest.raises(FeatureError, match="act_scores"):
        Segmentation.from_dict(values)


def test_a_track_under_another_name_is_refused() -> None:
    values = scene().to_dict()
    with pytest.raises(FeatureError, match="tracks chapters"):
        Segmentation.from_dict({**values, "tracks": {"chapters": values["tracks"]["scenes"]}})


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
    result = joined([scene(21), on_shots(units, ends)])
    values = json.loads(result.to_json())
    jsonschema.Draft202012Validator(schema()).validate(values)
    assert values["act_logits"][1] == [None] * 5
    back = Segmentation.from_json(result.to_json())
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


def test_scenes_are_not_acts_over_units() -> None:
    with pytest.raises(FeatureError, match="units of an act result"):
        on_shots(scene(), np.arange(12))

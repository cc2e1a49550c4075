"""Tasks: what each takes, offers and explains, and that another one is a file and a row."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

import jsonschema
import numpy as np
import pytest
from support import small_config

from megaseg import Segmentation
from megaseg.engine.results.schema import Decision
from megaseg.engine.results.segmentation import joined
from megaseg.engine.tasks import task as registry
from megaseg.engine.tasks.scene import SceneDecision, Scenes
from megaseg.engine.tasks.task import DecidingTask, TaskDecision, deciding_task, register, task_of, tasks
from megaseg.engine.tasks.together import check_together, options_for_each
from megaseg.engine.tasks.track import Track, segments_of
from megaseg.errors import FeatureError, UnsupportedError

RNG = np.random.default_rng(3)


def decided(name: str) -> tuple[DecidingTask, np.ndarray, Track]:
    task = deciding_task(name, "test")
    logits = RNG.normal(size=(9, 2 if name == "scene" else 5)).astype(np.float32)
    return task, logits, task.decide(task.scores(logits), logits, task.decision({}, None, logits))


def test_the_tasks_that_there_are() -> None:
    assert [task.name for task in tasks()] == ["scene", "act", "synopsis", "embedding", "gap"]
    with pytest.raises(UnsupportedError, match="task: expected one of scene, .*, gap, got 'plot'"):
        task_of("plot")
    with pytest.raises(UnsupportedError, match="got one of task embedding; use embed or outputs"):
        deciding_task("embedding", "call")
    with pytest.raises(ValueError, match="'scene' is there already"):
        register(Scenes("scene"))


@pytest.mark.parametrize("name", ["scene", "act"])
def test_tensors_are_those_that_were_announced(name: str) -> None:
    task, _, track = decided(name)
    config = small_config(name)
    specs, arrays = task.tensor_specs(config), task.tensors(track)
    assert [spec.name for spec in specs] == list(arrays)
    for spec in specs:
        array = arrays[spec.name]
        assert array.dtype == np.dtype(spec.type)
        assert array.shape == tuple(9 if size == -1 else size for size in spec.shape)
    assert np.flatnonzero(arrays["boundaries"]).tolist() == track.boundaries.tolist()
    assert [point.shot for point in track.points] == arrays.get("turning_points", np.empty(0)).tolist()


@pytest.mark.parametrize("name", ["scene", "act"])
def test_what_is_explained(name: str) -> None:
    task, logits, track = decided(name)
    shots, names, classes = task.explained(track, logits)
    if name == "scene":
        assert shots.tolist() == list(range(9))
        assert classes.tolist() == logits.argmax(axis=1).tolist()
        assert list(names) == [("no boundary", "boundary")[k] for k in classes]
        assert set(names) == {"boundary", "no boundary"}
        assert task.explained(track, logits, "boundary").classes.tolist() == [1] * 9
        assert task.explained(track, logits, "no boundary").names == ("no boundary",) * 9
    else:
        assert shots.tolist() == [point.shot for point in track.points]
        assert classes.tolist() == [0, 1, 2, 3, 4]
        assert names[0] == "opportunity"
    with pytest.raises(FeatureError, match=r"about: expected .*, got 'climax'"):
        task.explained(track, logits, "climax")


def test_a_config_that_is_no_scene_model_is_told_what_it_lacks() -> None:
    config = small_config("act", num_classes=3)
    (problem,) = task_of("scene").problems(config)
    assert problem == "logits of a scene model must be of 2 classes (no boundary, boundary), got 3"
    assert list(task_of("act").problems(config)) == []
    assert list(task_of("scene").problems(small_config())) == []


def test_options_go_to_the_task_that_takes_them() -> None:
    given = {"threshold": 0.3, "num_scenes": None, "ordered": False}
    assert options_for_each(["scene", "act"], given) == [{"threshold": 0.3}, {"ordered": False}]
    assert options_for_each(["act", "scene"], given) == [{"ordered": False}, {"threshold": 0.3}]
    assert options_for_each(["act"], {"threshold": None}) == [{}]
    with pytest.raises(FeatureError, match=r"threshold: expected an option of task act \(ordered\), got 0.3"):
        options_for_each(["act"], given)
    with pytest.raises(TypeError, match="'loudness'"):
        options_for_each(["scene", "act"], {"loudness": 1})


@pytest.mark.parametrize("names", [["scene", "scene"], ["act", "synopsis"], ["scene", "act", "act"]])
def test_models_that_do_not_go_together(names: list[str]) -> None:
    configs = [small_config(name) for name in names]
    check_together(configs[:1], ["a"])
    check_together([small_config("act"), small_config()], ["a", "b"])
    with pytest.raises(FeatureError, match=f"checkpoint: expected one model for each of .* m0 of task {names[0]}"):
        check_together(configs, [f"m{i}" for i in range(len(names))])


@dataclass(frozen=True)
class ChapterDecision(TaskDecision):
    most: int = 3
    loud: bool = False


class Chapters(Scenes):
    """A task of its own options and track; that a scene's scores will do is not the point."""

    track = "chapters"
    decision_type = ChapterDecision
    streams = False

    def decision(self, given: Any, threshold: float | None, logits: Any) -> Any:
        return ChapterDecision(**given)

    def decide(self, scores: Any, logits: Any, decision: Any, times: Any = None) -> Track:
        boundaries = np.sort(np.argsort(-scores[:-1], kind="stable")[: decision.most - 1])
        segments = segments_of(boundaries, scores[boundaries], len(scores), times)
        return Track(self.track, self.name, scores, decision, boundaries, segments)

    def changed(self, decision: Any, given: Any) -> Any:
        return DecidingTask.changed(self, decision, given)


@pytest.fixture
def chapters(monkeypatch: pytest.MonkeyPatch) -> Chapters:
    monkeypatch.setattr(registry, "_TASKS", dict(registry._TASKS))
    register(task := Chapters("chapter"))
    return task


def test_another_task_is_one_class_and_one_row(chapters: Chapters) -> None:
    """Its track is in results and their files beside those of other tasks, with its own options."""
    scores = RNG.random(12, dtype=np.float32)
    alone = Segmentation.from_scores("chapter", scores, ChapterDecision(most=4))
    scene = Segmentation.from_scores("scene", 1 - scores, SceneDecision(0.7))
    both = joined([alone, scene])
    assert (alone.task, both.task) == ("chapter", "movie")
    assert list(both.tracks) == ["scenes", "chapters"]
    assert len(both.tracks["chapters"].segments) == 4
    assert both.decision == Decision(0.7)
    schema = json.loads(resources.files("megaseg.engine.results").joinpath("result.schema.json").read_text())
    for result in (alone, both):
        values = json.loads(result.to_json())
        jsonschema.Draft202012Validator(schema).validate(values)
        assert Segmentation.from_dict(values).to_dict() == values
    assert both.to_dict()["tracks"]["chapters"]["scores"] == scores.tolist()
    again = both.redecide(most=2, threshold=0.1)
    assert len(again.tracks["chapters"].segments) == 2
    assert again.decision.threshold == 0.1
    with pytest.raises(FeatureError, match=r"ordered: expected an option of task scene .* or task chapter"):
        both.redecide(ordered=True)
    with pytest.raises(FeatureError, match="most: expected int, got 'two'"):
        both.redecide(most="two")


def test_a_decision_checks_its_types_and_takes_the_numbers_of_numpy() -> None:
    decision = ChapterDecision(np.int64(2), np.bool_(True))  # type: ignore[arg-type]
    assert (type(decision.most), type(decision.loud)) == (int, bool)
    for wrong in ({"most": 2.0}, {"most": True}, {"most": None}, {"loud": 1}):
        (name,) = wrong
        with pytest.raises(FeatureError, match=f"{name}: expected"):
            ChapterDecision(**wrong)  # type: ignore[arg-type]

"""Scenes and acts of one movie in one result: what a scene model and an act model say about the same shots."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.model.config import ModelConfig
from megaseg.engine.results.segmentation import SCHEMA, Decision, Segment, Segmentation, TurningPoint, parse_json
from megaseg.errors import FeatureError

MOVIE_SCHEMA = "megaseg.segmentation/2"


@dataclass(frozen=True)
class MovieSegmentation:
    """A ``scene`` and an ``act`` result over the same shots.

    Raises:
        FeatureError: results of other tasks, of different lengths, or with different times.
    """

    scene: Segmentation
    act: Segmentation

    def __post_init__(self) -> None:
        if (self.scene.task, self.act.task) != ("scene", "act"):
            raise FeatureError(f"movie: expected a scene and an act result, got {self.scene.task} and {self.act.task}")
        if self.scene.num_shots != self.act.num_shots:
            raise FeatureError(
                f"movie: expected scenes and acts over the same shots, got {self.scene.num_shots} and "
                f"{self.act.num_shots}"
            )
        own, other = self.scene.times, self.act.times
        same = own is other if own is None or other is None else np.array_equal(own, other)
        if not same or self.scene.time_base != self.act.time_base:
            raise FeatureError("movie: expected scenes and acts with the same times")

    @property
    def num_shots(self) -> int:
        """Number of shots n of the movie."""
        return self.scene.num_shots

    @property
    def scenes(self) -> tuple[Segment, ...]:
        """The scene result's scenes."""
        return self.scene.scenes

    @property
    def acts(self) -> tuple[Segment, ...]:
        """The act result's acts."""
        return self.act.acts

    @property
    def turning_points(self) -> tuple[TurningPoint, ...]:
        """The act result's turning points."""
        return self.act.turning_points

    @property
    def decision(self) -> Decision:
        """The scene result's decision, with ``ordered`` of the act result's."""
        return dataclasses.replace(self.scene.decision, ordered=self.act.decision.ordered)

    def redecide(
        self,
        *,
        threshold: float | None = None,
        min_scene_length: int | None = None,
        num_scenes: int | None = None,
        ordered: bool | None = None,
    ) -> MovieSegmentation:
        """Another decision on both parts' scores, as ``Segmentation.redecide``.

        Raises:
            FeatureError: a decision that the movie's length does not allow.
        """
        scene = self.scene.redecide(threshold=threshold, min_scene_length=min_scene_length, num_scenes=num_scenes)
        return MovieSegmentation(scene, self.act.redecide(ordered=ordered))

    def to_dict(self) -> dict[str, Any]:
        """The result as plain values: version 2 of the schema, a scene result with the acts' fields beside it."""
        scene, act = self.scene.to_dict(), self.act.to_dict()
        return {
            **scene,
            "schema": MOVIE_SCHEMA,
            "task": "movie",
            "decision": dataclasses.asdict(self.decision),
            "acts": act["acts"],
            "turning_points": act["turning_points"],
            "act_boundaries": act["boundaries"],
            "act_scores": act["scores"],
            **({"act_logits": act["logits"]} if "logits" in act else {}),
        }

    def to_json(self, indent: int | None = None) -> str:
        """``to_dict`` as JSON text."""
        return json.dumps(self.to_dict(), indent=indent)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MovieSegmentation:
        """Read ``to_dict`` back: the same scores, decided in the same way.

        Raises:
            FeatureError: not a result of this schema version.
        """
        if not isinstance(values, Mapping) or (values.get("schema"), values.get("task")) != (MOVIE_SCHEMA, "movie"):
            raise FeatureError(f"schema: expected {MOVIE_SCHEMA!r} with task 'movie'")
        if "act_scores" not in values:
            raise FeatureError(f"result: expected the fields of {MOVIE_SCHEMA}, got no act_scores")
        act = {"scores": values["act_scores"], "logits": values.get("act_logits")}
        return cls(
            Segmentation.from_dict({**values, "schema": SCHEMA, "task": "scene"}),
            Segmentation.from_dict({**values, **act, "schema": SCHEMA, "task": "act"}),
        )


def check_together(configs: Sequence[ModelConfig], names: Sequence[str]) -> None:
    """One model, or a scene and an act model, which segment a movie together.

    Raises:
        FeatureError: models of other tasks.
    """
    tasks = [config.task for config in configs]
    if len(tasks) > 1 and sorted(tasks) != ["act", "scene"]:
        got = ", ".join(f"{name} of task {task}" for name, task in zip(names, tasks, strict=True))
        raise FeatureError(f"--checkpoint: expected a scene and an act model, got {got}")


def check_same_features(configs: Sequence[ModelConfig], source: str) -> None:
    """Models that segment one movie's feature file together read the same features.

    Raises:
        FeatureError: models of different recipes.
    """
    recipes = sorted({config.recipe for config in configs if config.recipe})
    if len(recipes) > 1:
        raise FeatureError(
            f"{source}: the checkpoints read different features, {' and '.join(recipes)}; "
            "give the screenplay itself, or one --checkpoint"
        )


def joined(results: Sequence[Segmentation]) -> Segmentation | MovieSegmentation:
    """The result of one model, or of a scene and an act model over the same shots."""
    if len(results) == 1:
        return results[0]
    by_task = {result.task: result for result in results}
    return MovieSegmentation(by_task["scene"], by_task["act"])


def read_result(text: str) -> Segmentation | MovieSegmentation:
    """Read the JSON of either kind of result back.

    Raises:
        FeatureError: not JSON, or not a result of a known schema version.
    """
    values = parse_json(text)
    movie = isinstance(values, Mapping) and values.get("schema") == MOVIE_SCHEMA
    return MovieSegmentation.from_dict(values) if movie else Segmentation.from_dict(values)


def on_shots(
    act: Segmentation,
    ends: NDArray[np.int64],
    times: NDArray[np.int64] | None = None,
    time_base: Fraction | None = None,
) -> Segmentation:
    """An act result over longer units, such as scenes, as one over shots: each unit's probability is its last shot's.

    ``ends``: last shot (units,) of each unit, increasing. ``times`` are those of the shots.

    Raises:
        FeatureError: ``ends`` that do not fit the result's units.
    """
    if act.task != "act" or ends.shape != (act.num_shots,) or (np.diff(ends, prepend=-1) < 1).any():
        raise FeatureError(f"ends: expected the increasing last shots of {act.num_shots} units of an act result")
    scores = np.zeros((int(ends[-1]) + 1, act.scores.shape[1]), dtype=np.float32)
    scores[ends] = act.scores
    logits = None
    if act.logits is not None:
        logits = np.full_like(scores, -np.inf)
        logits[ends] = act.logits
    return Segmentation.from_scores("act", scores, act.decision, times, time_base, logits)

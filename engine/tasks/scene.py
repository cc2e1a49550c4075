"""Scenes: every shot either ends its scene or does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.model.config import ModelConfig
from megaseg.engine.model.family import width_of
from megaseg.engine.tasks.decoding import check_choice, check_edits, scene_boundaries, softmax
from megaseg.engine.tasks.task import DecidingTask, Explained, TaskDecision, TensorSpec
from megaseg.engine.tasks.track import Track, segments_of
from megaseg.errors import FeatureError

CLASSES = ("no boundary", "boundary")


@dataclass(frozen=True)
class SceneDecision(TaskDecision):
    """How P(boundary) becomes scenes: a least score and length of scenes, or an exact number of them.

    A person's edits hold whatever the scores say: a scene ends after each ``locked`` shot and after no ``barred`` one.

    Raises:
        FeatureError: a value of another type, a threshold outside [0, 1], a length or a number below 1, or a shot that
            is both locked and barred.
    """

    threshold: float = 0.5
    min_scene_length: int = 1
    num_scenes: int | None = None
    locked: tuple[int, ...] = dataclasses.field(default=(), kw_only=True)
    barred: tuple[int, ...] = dataclasses.field(default=(), kw_only=True)

    def _check(self) -> None:
        check_choice(self.threshold, self.min_scene_length, self.num_scenes)
        check_edits(self.locked, self.barred)


class Scenes(DecidingTask):
    """Logits (shots, 2), of windows around each shot, to scenes."""

    track = "scenes"
    decision_type = SceneDecision
    streams = True

    def problems(self, config: ModelConfig) -> Iterator[str]:
        """A scene model decides in two classes."""
        if (width := width_of(config)) != 2:
            yield f"logits of a scene model must be of 2 classes ({', '.join(CLASSES)}), got {width}"

    def decision(
        self, given: Mapping[str, Any], threshold: float | None, logits: NDArray[np.floating]
    ) -> SceneDecision:
        """The model's threshold, else 0.5, where none is given."""
        return SceneDecision(**{"threshold": 0.5 if threshold is None else threshold, **given})

    def changed(self, decision: TaskDecision, given: Mapping[str, Any]) -> TaskDecision:
        """A new ``threshold`` drops an earlier ``num_scenes``."""
        dropped = {"num_scenes": None} if "threshold" in given else {}
        return dataclasses.replace(decision, **{**dropped, **given})

    def scores(self, logits: NDArray[np.floating]) -> NDArray[np.float32]:
        """P(boundary after the shot), (shots,)."""
        return softmax(logits, axis=1)[:, 1].astype(np.float32)

    def decide(
        self,
        scores: NDArray[np.float32],
        logits: NDArray[np.float32] | None,
        decision: Any,
        times: NDArray[np.int64] | None = None,
    ) -> Track:
        """Scenes by the scores alone."""
        boundaries = scene_boundaries(
            scores,
            threshold=decision.threshold,
            min_scene_length=decision.min_scene_length,
            num_scenes=decision.num_scenes,
            locked=decision.locked,
            barred=decision.barred,
        )
        segments = segments_of(boundaries, scores[boundaries], len(scores), times)
        return Track(self.track, self.name, scores, decision, boundaries, segments)

    def unsure(self, logits: NDArray[np.float32], margin: float, decision: Any) -> NDArray[np.bool_]:
        """Rows on either side of the threshold; with ``min_scene_length``, where scores compete, all that may reach it.

        An exact number of scenes compares all scores of the movie: all rows.
        """
        if decision.num_scenes is not None:
            return np.ones(len(logits), np.bool_)
        worst = np.array([margin, -margin])
        most: NDArray[np.bool_] = self.scores(logits - worst).astype(np.float64) >= decision.threshold
        least: NDArray[np.bool_] = self.scores(logits + worst).astype(np.float64) >= decision.threshold
        return most if decision.min_scene_length > 1 else most & ~least

    def check_scores(self, scores: NDArray[np.float32]) -> None:
        """Scores are (shots,)."""
        if scores.ndim != 1 or not scores.size:
            raise ValueError(f"scores of shape {scores.shape} for task {self.name!r}")

    def tensor_specs(self, config: ModelConfig) -> tuple[TensorSpec, ...]:
        """P(boundary) and whether a scene ends with the shot, one a shot."""
        return TensorSpec("scores", "float32", (-1,)), TensorSpec("boundaries", "bool", (-1,))

    def tensors(self, track: Track) -> dict[str, NDArray[Any]]:
        """The arrays of ``tensor_specs``."""
        boundaries = np.zeros(len(track.scores), np.bool_)
        boundaries[track.boundaries] = True
        return {"scores": track.scores, "boundaries": boundaries}

    def explained(self, track: Track, logits: NDArray[np.float32], about: str | None = None) -> Explained:
        """Every shot with the larger of its two logits, whatever the threshold, or with the class ``about``.

        Raises:
            FeatureError: no such class.
        """
        if about is not None and about not in CLASSES:
            raise FeatureError(f"about: expected one of {', '.join(CLASSES)}, got {about!r:.40}")
        classes = logits.argmax(axis=1) if about is None else np.full(len(logits), CLASSES.index(about))
        return Explained(np.arange(len(logits)), tuple(CLASSES[k] for k in classes), classes)

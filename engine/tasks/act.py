"""Acts: turning points, each at one shot of the movie, and the acts that they end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.model.config import ModelConfig
from megaseg.engine.model.family import width_of
from megaseg.engine.tasks.decoding import can_order, softmax, turning_points
from megaseg.engine.tasks.task import DecidingTask, Explained, TaskDecision, TensorSpec
from megaseg.engine.tasks.track import Point, Track, segments_of
from megaseg.errors import FeatureError

# The five of screenwriting theory, in order (Papalampidi et al. 2019, Table 1).
TURNING_POINTS = ("opportunity", "change of plans", "point of no return", "major setback", "climax")


@dataclass(frozen=True)
class ActDecision(TaskDecision):
    """How probabilities over shots become turning points: in strictly increasing order, or each on its own.

    Raises:
        FeatureError: a value of another type.
    """

    ordered: bool = False


class Acts(DecidingTask):
    """Logits (shots, N_c), of the whole movie at once, to N_c turning points and up to N_c + 1 acts."""

    track = "acts"
    decision_type = ActDecision

    def decision(self, given: Mapping[str, Any], threshold: float | None, logits: NDArray[np.floating]) -> ActDecision:
        """Ordered wherever the movie has a shot for each act, unless something else is given."""
        return ActDecision(given.get("ordered", can_order(logits)))

    def scores(self, logits: NDArray[np.floating]) -> NDArray[np.float32]:
        """Probabilities over shots for each turning point, (shots, N_c)."""
        return softmax(logits, axis=0).astype(np.float32)

    def decide(
        self,
        scores: NDArray[np.float32],
        logits: NDArray[np.float32] | None,
        decision: Any,
        times: NDArray[np.int64] | None = None,
    ) -> Track:
        """Turning points by the logits, which still differ where probabilities underflow, else by the scores."""
        own = None if logits is None else logits.astype(np.float32)
        with np.errstate(divide="ignore"):
            decisive = np.log(scores.astype(np.float64)) if own is None else own
        shots = turning_points(decisive, ordered=decision.ordered)
        names = TURNING_POINTS if len(shots) == len(TURNING_POINTS) else [f"{k + 1}" for k in range(len(shots))]
        points = tuple(
            Point(name, int(shot), float(scores[shot, k]))
            for k, (name, shot) in enumerate(zip(names, shots, strict=True))
        )
        # A turning point ends its act; two on one shot end one, and one on the last shot ends none.
        strongest = {shot: float(scores[shot, shots == shot].max()) for shot in sorted(set(shots.tolist()))}
        boundaries = np.array([shot for shot in strongest if shot < len(scores) - 1], dtype=np.int64)
        segments = segments_of(boundaries, [strongest[shot] for shot in boundaries.tolist()], len(scores), times)
        return Track(self.track, self.name, scores, decision, boundaries, segments, points, own)

    def unsure(self, logits: NDArray[np.float32], margin: float, decision: Any) -> NDArray[np.bool_]:
        """No row where the points stay when they are worse by the margin and all others better, else all rows."""
        shots = turning_points(logits, ordered=decision.ordered)
        worst = logits.astype(np.float64) + margin
        worst[shots, np.arange(len(shots))] -= 2 * margin
        stay = np.array_equal(turning_points(worst, ordered=decision.ordered), shots)
        return np.full(len(logits), not stay)

    def check_scores(self, scores: NDArray[np.float32]) -> None:
        """Scores are (shots, N_c)."""
        if scores.ndim != 2 or not scores.size:
            raise ValueError(f"scores of shape {scores.shape} for task {self.name!r}")

    def tensor_specs(self, config: ModelConfig) -> tuple[TensorSpec, ...]:
        """Probabilities and act ends by shot, and the shot of each turning point."""
        classes = width_of(config)
        return (
            TensorSpec("scores", "float32", (-1, classes)),
            TensorSpec("turning_points", "int64", (classes,)),
            TensorSpec("boundaries", "bool", (-1,)),
        )

    def tensors(self, track: Track) -> dict[str, NDArray[Any]]:
        """The arrays of ``tensor_specs``."""
        boundaries = np.zeros(len(track.scores), np.bool_)
        boundaries[track.boundaries] = True
        points = np.array([point.shot for point in track.points], np.int64)
        return {"scores": track.scores, "turning_points": points, "boundaries": boundaries}

    def explained(self, track: Track, logits: NDArray[np.float32], about: str | None = None) -> Explained:
        """Each turning point at its decided shot.

        Raises:
            FeatureError: a class to ask about.
        """
        if about is not None:
            raise FeatureError(f"about: expected None for turning points, got {about!r:.40}")
        shots = np.array([point.shot for point in track.points], dtype=np.int64)
        return Explained(shots, tuple(point.name for point in track.points), np.arange(len(shots)))

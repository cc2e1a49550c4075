"""The result: scenes or acts, their scores, and everything needed to decide again without running the model."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.features import check_times
from megaseg.engine.tasks import decoding as decision
from megaseg.errors import FeatureError

SCHEMA = "megaseg.segmentation/1"
# The five of screenwriting theory, in order (Papalampidi et al. 2019, Table 1).
TURNING_POINTS = ("opportunity", "change of plans", "point of no return", "major setback", "climax")


@dataclass(frozen=True, slots=True)
class Segment:
    """A scene or an act: first and last shot (both inside), and the score of the decision that ends it.

    ``score`` is P(boundary) after ``last_shot`` for a scene, the turning point's probability for an act, and 1 for the
    last one, which the movie's end closes. Ticks are in units of the result's ``time_base``.
    """

    first_shot: int
    last_shot: int
    score: float
    start_ticks: int | None = None
    end_ticks: int | None = None


@dataclass(frozen=True, slots=True)
class TurningPoint:
    """One turning point: its name, its shot, and its probability o_in among all shots (Eq. 7)."""

    name: str
    shot: int
    score: float


@dataclass(frozen=True, slots=True)
class Decision:
    """How scores became segments; ``threshold`` and the two after it are for scenes, ``ordered`` for acts.

    NumPy's numbers are taken as Python's.

    Raises:
        FeatureError: a value of another type, or one that no movie allows, whatever the task.
    """

    threshold: float = 0.5
    min_scene_length: int = 1
    num_scenes: int | None = None
    ordered: bool = False

    def __post_init__(self) -> None:
        kinds: dict[str, tuple[type, type]] = {
            "threshold": (Real, float),
            "min_scene_length": (Integral, int),
            "num_scenes": (Integral, int),
            "ordered": (np.bool_, bool),
        }
        for name, (kind, plain) in kinds.items():
            value = getattr(self, name)
            if value is None and name == "num_scenes":
                continue
            if not isinstance(value, (kind, plain)) or (isinstance(value, bool) and plain is not bool):
                raise FeatureError(f"{name}: expected {Decision.__annotations__[name]}, got {value!r:.40}")
        decision.check_choice(self.threshold, self.min_scene_length, self.num_scenes)
        for name, (_, plain) in kinds.items():
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else plain(value))


@dataclass(frozen=True)
class Segmentation:
    """Scenes (task ``scene``) or acts (task ``act``) of one movie.

    ``scores`` is float32: (shots,) P(boundary after the shot), or (shots, N_c) probabilities over shots for each
    turning point. ``boundaries`` are the shots that end a scene or an act, the movie's last shot left out. ``logits``
    (shots, N_c) of the act model decide where probabilities underflow, -inf where a shot has none; None where only
    the probabilities are known.
    """

    task: str
    scores: NDArray[np.float32]
    decision: Decision
    boundaries: NDArray[np.int64]
    scenes: tuple[Segment, ...] = ()
    acts: tuple[Segment, ...] = ()
    turning_points: tuple[TurningPoint, ...] = ()
    times: NDArray[np.int64] | None = None
    time_base: Fraction | None = None
    logits: NDArray[np.float32] | None = None

    @classmethod
    def from_logits(
        cls,
        task: str,
        logits: NDArray[np.floating],
        decision_: Decision,
        times: NDArray[np.int64] | None = None,
        time_base: Fraction | None = None,
    ) -> Segmentation:
        """Decide on a model's logits (shots, N_c).

        Raises:
            FeatureError: a decision that the movie's length does not allow.
        """
        if task == "scene":
            scores = decision.softmax(logits, axis=1)[:, 1].astype(np.float32)
            return cls.from_scores(task, scores, decision_, times, time_base)
        scores = decision.softmax(logits, axis=0).astype(np.float32)
        return cls.from_scores(task, scores, decision_, times, time_base, logits.astype(np.float32))

    @classmethod
    def from_scores(
        cls,
        task: str,
        scores: NDArray[np.float32],
        decision_: Decision,
        times: NDArray[np.int64] | None = None,
        time_base: Fraction | None = None,
        logits: NDArray[np.float32] | None = None,
    ) -> Segmentation:
        """Decide on kept scores, those of an act model with its logits if they are known.

        Raises:
            FeatureError: a decision that the movie's length does not allow.
        """
        if task == "scene":
            boundaries = decision.scene_boundaries(
                scores,
                threshold=decision_.threshold,
                min_scene_length=decision_.min_scene_length,
                num_scenes=decision_.num_scenes,
            )
            scenes = _segments(boundaries, scores[boundaries], len(scores), times)
            return cls(task, scores, decision_, boundaries, scenes=scenes, times=times, time_base=time_base)
        with np.errstate(divide="ignore"):
            decisive = np.log(scores.astype(np.float64)) if logits is None else logits
        shots = decision.turning_points(decisive, ordered=decision_.ordered)
        names = TURNING_POINTS if len(shots) == len(TURNING_POINTS) else [f"{k + 1}" for k in range(len(shots))]
        points = tuple(
            TurningPoint(name, int(shot), float(scores[shot, k]))
            for k, (name, shot) in enumerate(zip(names, shots, strict=True))
        )
        # A turning point ends its act; two on one shot end one, and one on the last shot ends none.
        strongest = {shot: float(scores[shot, shots == shot].max()) for shot in sorted(set(shots.tolist()))}
        boundaries = np.array([shot for shot in strongest if shot < len(scores) - 1], dtype=np.int64)
        acts = _segments(boundaries, [strongest[shot] for shot in boundaries.tolist()], len(scores), times)
        return cls(task, scores, decision_, boundaries, (), acts, points, times, time_base, logits)

    @property
    def num_shots(self) -> int:
        """Number of shots n of the movie."""
        return len(self.scores)

    def redecide(
        self,
        *,
        threshold: float | None = None,
        min_scene_length: int | None = None,
        num_scenes: int | None = None,
        ordered: bool | None = None,
    ) -> Segmentation:
        """Another decision on the same scores or logits, without running the model; what is not given stays as it was.

        A new ``threshold`` drops an earlier ``num_scenes``.

        Raises:
            FeatureError: a decision that the movie's length does not allow.
        """
        given = {
            "threshold": threshold,
            "min_scene_length": min_scene_length,
            "num_scenes": num_scenes,
            "ordered": ordered,
        }
        changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        if threshold is not None:
            changes.setdefault("num_scenes", None)
        changed = dataclasses.replace(self.decision, **changes)
        return Segmentation.from_scores(self.task, self.scores, changed, self.times, self.time_base, self.logits)

    def seconds(self, ticks: int) -> float:
        """Ticks of the time base as seconds, for reading.

        Raises:
            FeatureError: the movie has no times.
        """
        if self.time_base is None:
            raise FeatureError("times: expected features with times and time_base, got none")
        return float(ticks * self.time_base)

    def to_dict(self) -> dict[str, Any]:
        """The result as plain values, as ``megaseg/engine/results/result.schema.json`` describes them."""
        return {
            "schema": SCHEMA,
            "task": self.task,
            "num_shots": self.num_shots,
            "time_base": None if self.time_base is None else list(self.time_base.as_integer_ratio()),
            "decision": dataclasses.asdict(self.decision),
            "boundaries": self.boundaries.tolist(),
            "scenes": [self._segment_dict(segment) for segment in self.scenes],
            "acts": [self._segment_dict(segment) for segment in self.acts],
            "turning_points": [self._point_dict(point) for point in self.turning_points],
            "scores": [float(score) for score in self.scores] if self.task == "scene" else self.scores.tolist(),
            "times": None if self.times is None else self.times.tolist(),
            **({} if self.logits is None else {"logits": _finite_or_null(self.logits)}),
        }

    def _segment_dict(self, segment: Segment) -> dict[str, Any]:
        values = dataclasses.asdict(segment)
        if segment.start_ticks is None or segment.end_ticks is None:
            return {**values, "start_seconds": None, "end_seconds": None}
        seconds = {
            "start_seconds": self.seconds(segment.start_ticks),
            "end_seconds": self.seconds(segment.end_ticks),
        }
        return {**values, **seconds}

    def _point_dict(self, point: TurningPoint) -> dict[str, Any]:
        ticks = None if self.times is None else int(self.times[point.shot, 0])
        return {
            **dataclasses.asdict(point),
            "start_ticks": ticks,
            "start_seconds": None if ticks is None else self.seconds(ticks),
        }

    def to_json(self, indent: int | None = None) -> str:
        """``to_dict`` as JSON text."""
        return json.dumps(self.to_dict(), indent=indent)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Segmentation:
        """Read ``to_dict`` back: the same scores, decided in the same way.

        Raises:
            FeatureError: not a result of this schema version.
        """
        schema = values.get("schema") if isinstance(values, Mapping) else None
        if schema != SCHEMA:
            raise FeatureError(f"schema: expected {SCHEMA!r}, got {schema!r}")
        try:
            task = values["task"]
            scores = np.asarray(values["scores"], dtype=np.float32)
            if task not in ("scene", "act") or scores.ndim != (1 if task == "scene" else 2) or not scores.size:
                raise ValueError(f"task {task!r} with scores of shape {scores.shape}")
            if not ((scores >= 0) & (scores <= 1)).all():
                raise ValueError("scores outside 0 to 1")
            base = None if values["time_base"] is None else Fraction(*values["time_base"])
            times = None if values["times"] is None else np.asarray(values["times"], dtype=np.int64)
            if times is not None:
                check_times(times, base, len(scores))
            given = values.get("logits") if task == "act" else None
            logits = None if given is None else _read_logits(given, scores.shape)
            return cls.from_scores(task, scores, Decision(**values["decision"]), times, base, logits)
        except (KeyError, TypeError, ValueError, OverflowError, ZeroDivisionError) as error:
            raise FeatureError(f"result: expected the fields of {SCHEMA}, got: {error}") from error

    @classmethod
    def from_json(cls, text: str) -> Segmentation:
        """Read ``to_json`` back.

        Raises:
            FeatureError: not JSON, or not a result of this schema version.
        """
        return cls.from_dict(parse_json(text))


def parse_json(text: str) -> Any:
    """The value of a result's JSON text.

    Raises:
        FeatureError: not JSON.
    """
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise FeatureError(f"result: expected JSON, got: {error}") from error


def _finite_or_null(logits: NDArray[np.float32]) -> list[list[float | None]]:
    """JSON has no -inf."""
    return [[None if value == -math.inf else value for value in row] for row in logits.tolist()]


def _read_logits(rows: Iterable[Iterable[float | None]], shape: tuple[int, ...]) -> NDArray[np.float32]:
    logits = np.array([[-math.inf if value is None else value for value in row] for row in rows], dtype=np.float64)
    if logits.shape != shape or not (logits <= np.finfo(np.float32).max).all():
        raise ValueError(f"logits of shape {logits.shape}, some perhaps not finite, to scores of shape {shape}")
    with np.errstate(over="ignore"):  # far below any that counts
        return logits.astype(np.float32)


def _segments(
    boundaries: NDArray[np.int64], scores: Iterable[float], shots: int, times: NDArray[np.int64] | None
) -> tuple[Segment, ...]:
    lasts = [*boundaries.tolist(), shots - 1]
    firsts = [0, *(boundaries + 1).tolist()]
    ends = [*(float(score) for score in scores), 1.0]
    return tuple(
        Segment(first, last, score)
        if times is None
        else Segment(first, last, score, int(times[first, 0]), int(times[last, 1]))
        for first, last, score in zip(firsts, lasts, ends, strict=True)
    )

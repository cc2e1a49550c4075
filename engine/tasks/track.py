"""Track: a movie divided into segments, or marked at points, as a task decided it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


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
class Point:
    """A marked shot, such as a turning point: its name, its shot, and its probability among all shots (Eq. 7)."""

    name: str
    shot: int
    score: float


@dataclass(frozen=True)
class Track:
    """What a task says about one movie.

    ``name`` is the track's in the result (``scenes``, ``acts``), ``task`` the task that decided, with ``decision``, on
    ``scores`` (shots, ...), or on ``logits`` where they are known. ``boundaries`` are the shots that end a segment,
    the movie's last shot left out. Segments cover the movie; ``points`` are in the order of the model's classes.
    """

    name: str
    task: str
    scores: NDArray[np.float32]
    decision: Any  # of the task's own type
    boundaries: NDArray[np.int64]
    segments: tuple[Segment, ...]
    points: tuple[Point, ...] = ()
    logits: NDArray[np.float32] | None = None


def segments_of(
    boundaries: NDArray[np.int64], scores: Iterable[float], shots: int, times: NDArray[np.int64] | None
) -> tuple[Segment, ...]:
    """The segments between boundaries, each with the score of the boundary that ends it."""
    lasts = [*boundaries.tolist(), shots - 1]
    firsts = [0, *(boundaries + 1).tolist()]
    ends = [*(float(score) for score in scores), 1.0]
    return tuple(
        Segment(first, last, score)
        if times is None
        else Segment(first, last, score, int(times[first, 0]), int(times[last, 1]))
        for first, last, score in zip(firsts, lasts, ends, strict=True)
    )

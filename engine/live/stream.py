"""Streams: decisions on shots as they come, equal to those on the whole movie."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.features import Features, FeatureSource, as_features, read_time_base
from megaseg.engine.live.snapshot import write_snapshot
from megaseg.engine.live.state import Event, Progress
from megaseg.engine.results.segmentation import Decision, Segmentation
from megaseg.errors import FeatureError, UnsupportedError

if TYPE_CHECKING:
    from megaseg.engine.engine import Engine

__all__ = ["Event", "LiveActs", "Stream", "new_progress"]


@dataclass(frozen=True, slots=True)
class LiveActs:
    """Turning points and acts of the shots so far; ``provisional`` until the stream is closed."""

    segmentation: Segmentation
    provisional: bool


class Stream:
    """A movie whose shots come one by one. Made by ``Engine.stream``; runs in the caller's thread.

    A shot is decided when the look-ahead of the model has come: (L - 1) / 2 more shots, 8 for the paper's L = 17.
    Each costs one window; what neighbouring windows share is kept (on the native backend, others compute it again).
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._turn = threading.Lock()

    def push(self, features: FeatureSource, times: NDArray[np.int64] | None = None) -> tuple[Event, ...]:
        """The movie's next shots, one or more; gives the decisions that have become possible, in order.

        Final events come first; with ``provisional`` there follows one for each new shot that waits for its look-ahead.

        Args:
            features: modality to array (k, feature_size), or ``Features``.
            times: int64 (k, 2), start and end tick of each shot in the stream's ``time_base``.

        Raises:
            FeatureError: features or times that do not fit; the stream is as before.
        """
        shots = shots_of(features, times, self._progress)
        with self._turn:
            self._progress.append(shots)
            return self._run()

    def close(self) -> tuple[Event, ...]:
        """The movie ends here: decisions on its last shots. Closing again gives none."""
        with self._turn:
            self._progress.closed = True
            return self._run()

    def _run(self) -> tuple[Event, ...]:
        progress = self._progress
        turn = progress.turn(progress.num_shots)
        if not turn.excerpts:
            return ()
        logits = [rows for (rows,) in progress.engine.backend.run(turn.excerpts)]
        final, provisional = progress.advance(turn, logits)
        progress.deliver(progress.decided)
        return (*final, *provisional)

    @property
    def num_shots(self) -> int:
        """Shots that have come."""
        return self._progress.num_shots

    @property
    def num_decided(self) -> int:
        """Shots whose decision is final."""
        return self._progress.decided

    def segmentation(self) -> Segmentation:
        """Scenes of the shots decided so far; of a closed stream what ``Engine.segment`` gives for the movie.

        Raises:
            FeatureError: no shot is decided yet, or the stream was made without ``history``.
        """
        with self._turn:
            return segmentation_of(self._progress)

    def acts(self) -> LiveActs:
        """Turning points and acts of the shots so far, by the act model; final once the stream is closed.

        Raises:
            FeatureError: no shot has come, or more than the act model takes.
            UnsupportedError: the stream was made without an act model.
        """
        with self._turn:
            ask = acts_of(self._progress)
        return ask()

    def snapshot(self) -> bytes:
        """The stream as bytes that ``Engine.resume`` goes on from, in another process or on another machine.

        A safetensors file with what later decisions need (docs/streaming.md): the last shots' features, scores, times.
        """
        with self._turn:
            return write_snapshot(self._progress)


def new_progress(
    engine: Engine,
    *,
    threshold: float | None = None,
    provisional: bool = False,
    time_base: Fraction | str | None = None,
    acts: Engine | None = None,
    history: bool = True,
) -> Progress:
    """A stream's state before its first shot; ``Engine.stream`` says what the arguments mean.

    Raises:
        UnsupportedError: not a scene model, or ``acts`` that is no act model.
        FeatureError: a threshold outside [0, 1], or a time base that is none.
    """
    if engine.config.task != "scene":
        raise UnsupportedError(
            f"stream: expected a scene model, got task {engine.config.task!r}; an act model is given as acts="
        )
    if acts is not None and acts.config.task != "act":
        raise UnsupportedError(f"acts: expected an act model, got task {acts.config.task!r}")
    if threshold is None:
        threshold = 0.5 if engine.config.threshold is None else engine.config.threshold
    threshold = Decision(threshold).threshold
    progress = Progress(engine, threshold=threshold, provisional=provisional, acts=acts, history=history)
    progress.time_base = read_time_base(time_base)
    return progress


def shots_of(features: FeatureSource, times: NDArray[np.int64] | None, progress: Progress) -> Features:
    """What was pushed, checked by itself."""
    if times is None:
        return as_features(features)
    source = as_features(features)
    return Features(
        source.modalities, np.asanyarray(times), source.time_base or progress.time_base, recipe=source.recipe
    )


def segmentation_of(progress: Progress) -> Segmentation:
    """``Stream.segmentation``."""
    if not progress.history or not progress.scores:
        why = "no shot is decided yet" if progress.history else "the stream was made with history=False"
        raise FeatureError(f"segmentation: {why}")
    times = progress.times.read(0, progress.decided)[0] if progress.times.end else None
    scores = np.concatenate(progress.scores)
    base = None if times is None else progress.time_base
    return Segmentation.from_scores("scene", scores, Decision(progress.threshold), times, base)


def acts_of(progress: Progress) -> Callable[[], LiveActs]:
    """``Stream.acts`` of the shots so far, to be called once the stream may go on."""
    engine = progress.acts
    if engine is None:
        raise UnsupportedError("acts: expected a stream made with an act model: engine.stream(acts=...)")
    if not progress.num_shots:
        raise FeatureError("acts: no shot has come yet")
    names = [modality.name for modality in engine.config.modalities]
    arrays = progress.whole.read(0, progress.num_shots)
    times = progress.times.read(0, progress.num_shots)[0] if progress.times.end else None
    base = None if times is None else progress.time_base
    movie, provisional = Features(dict(zip(names, arrays, strict=True)), times, base), not progress.closed
    return lambda: LiveActs(engine.segment(movie), provisional)

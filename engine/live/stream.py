"""Streams: decisions on shots as they come, equal to those on the whole movie."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.backends.excerpts import remarks_of
from megaseg.engine.graph.sequences import Strided, Windows
from megaseg.engine.inputs.feature_files import FeatureSource, as_features
from megaseg.engine.inputs.features import Features, read_time_base
from megaseg.engine.live.segmenter import Segmenter
from megaseg.engine.live.snapshot import read_snapshot, write_snapshot
from megaseg.engine.live.state import Event, StreamState
from megaseg.engine.live.strided_state import StridedState
from megaseg.engine.model.config import ModelConfig
from megaseg.engine.results.segmentation import Segmentation
from megaseg.engine.tasks.scene import SceneDecision
from megaseg.engine.tasks.task import DecidingTask, deciding_tasks, task_of
from megaseg.errors import FeatureError, UnsupportedError

__all__ = ["Event", "LiveActs", "Stream", "new_state", "resumed_state"]


@dataclass(frozen=True, slots=True)
class LiveActs:
    """Turning points and acts of the shots so far; ``provisional`` until the stream is closed."""

    segmentation: Segmentation
    provisional: bool


class Stream:
    """A movie whose shots come one by one. Made by ``Engine.stream``; runs in the caller's thread.

    A shot is decided when the look-ahead of the model has come: (L - 1) / 2 more shots, 8 for the paper's L = 17.
    Each costs one window; what neighbouring windows share is kept (on the native backend, others compute it again).
    A model of strided windows decides a shot when no later window can be nearer to it, after L - 1 more shots at most,
    and runs one window every ``step`` shots.
    """

    def __init__(self, state: StreamState, acts: Segmenter | None = None) -> None:
        self._state, self._acts = state, acts
        self._lock = threading.Lock()

    def push(self, features: FeatureSource, times: NDArray[np.int64] | None = None) -> tuple[Event, ...]:
        """The movie's next shots, one or more; gives the decisions that have become possible, in order.

        Final events come first; with ``provisional`` there follows one for each new shot that waits for its look-ahead.

        Args:
            features: modality to array (k, feature_size), or ``Features``.
            times: int64 (k, 2), start and end tick of each shot in the stream's ``time_base``.

        Raises:
            FeatureError: features or times that do not fit; the stream is as before.
        """
        shots = shots_of(features, times, self._state)
        with self._lock:
            self._state.append(shots)
            return self._run()

    def close(self) -> tuple[Event, ...]:
        """The movie ends here: decisions on its last shots. Closing again gives none."""
        with self._lock:
            self._state.closed = True
            return self._run()

    def _run(self) -> tuple[Event, ...]:
        state = self._state
        batch = state.batch(state.num_shots)
        if not batch.excerpts and not batch.final:
            return ()
        logits = [rows for (rows,) in state.backend.run(batch.excerpts)] if batch.excerpts else []
        final, provisional = state.advance(batch, logits)
        state.deliver(state.decided)
        return (*final, *provisional)

    @property
    def num_shots(self) -> int:
        """Shots that have come."""
        return self._state.num_shots

    @property
    def num_decided(self) -> int:
        """Shots whose decision is final."""
        return self._state.decided

    def segmentation(self) -> Segmentation:
        """Scenes of the shots decided so far; of a closed stream what ``Engine.segment`` gives for the movie.

        Raises:
            FeatureError: no shot is decided yet, or the stream was made without ``history``.
        """
        with self._lock:
            return segmentation_of(self._state)

    def acts(self) -> LiveActs:
        """Turning points and acts of the shots so far, by the act model; final once the stream is closed.

        Raises:
            FeatureError: no shot has come, or more than the act model takes.
            UnsupportedError: the stream was made without an act model.
        """
        with self._lock:
            ask = acts_of(self._state, self._acts)
        return ask()

    def snapshot(self) -> bytes:
        """The stream as bytes that ``Engine.resume`` goes on from, in another process or on another machine.

        A safetensors file with what later decisions need (docs/streaming.md): the last shots' features, scores, times.
        """
        with self._lock:
            return write_snapshot(self._state)


def new_state(
    engine: Segmenter,
    *,
    threshold: float | None = None,
    provisional: bool = False,
    time_base: Fraction | str | None = None,
    acts: Segmenter | None = None,
    history: bool = True,
) -> StreamState:
    """A stream's state before its first shot; ``Engine.stream`` says what the arguments mean.

    Raises:
        UnsupportedError: not a model of a task that streams, ``acts`` that is no act model, or ``provisional`` for
            strided windows.
        FeatureError: ``acts`` that reads other features, a threshold outside [0, 1], or a time base that is none.
    """
    config = engine.config
    task = task_of(config.task)
    kinds: dict[type, type[StreamState]] = {Windows: StreamState, Strided: StridedState}
    make = kinds.get(type(config.sequences))
    if not isinstance(task, DecidingTask) or not task.streams or make is None:
        expected = " or ".join(own.name for own in deciding_tasks() if own.streams)
        raise UnsupportedError(
            f"stream: expected a {expected} model, got task {config.task!r}; an act model is given as acts="
        )
    if threshold is None:
        threshold = 0.5 if config.threshold is None else config.threshold
    state = make(
        config,
        engine.backend,
        threshold=SceneDecision(threshold).threshold,
        provisional=provisional,
        acts=_act_config(acts, config),
        history=history,
    )
    state.time_base = read_time_base(time_base)
    return state


def _act_config(acts: Segmenter | None, config: ModelConfig) -> ModelConfig | None:
    """The act model's config; its features come in the same pushes as those of the model with ``config``."""
    if acts is None:
        return None
    if not isinstance(acts, Segmenter):
        raise UnsupportedError(f"acts: expected the engine of an act model, got {type(acts).__name__}")
    if acts.config.task != "act":
        raise UnsupportedError(f"acts: expected an act model, got task {acts.config.task!r}")
    own, other = config.recipe, acts.config.recipe
    if own and other and own != other:
        raise FeatureError(f"acts: the checkpoints read different features, {own} and {other}")
    return acts.config


def resumed_state(engine: Segmenter, snapshot: bytes, acts: Segmenter | None = None) -> StreamState:
    """The state that ``Stream.snapshot`` was taken of.

    Raises:
        UnsupportedError: as ``new_state``.
        FeatureError: not a whole snapshot of this version, or one of another model.
    """
    return read_snapshot(
        snapshot, engine.config, _act_config(acts, engine.config), partial(new_state, engine, acts=acts)
    )


def shots_of(features: FeatureSource, times: NDArray[np.int64] | None, state: StreamState) -> Features:
    """What was pushed, checked by itself."""
    if times is None:
        return as_features(features)
    source = as_features(features)
    return Features(source.modalities, np.asanyarray(times), source.time_base or state.time_base, recipe=source.recipe)


def segmentation_of(state: StreamState) -> Segmentation:
    """``Stream.segmentation``."""
    if not state.history or not state.scores:
        why = "no shot is decided yet" if state.history else "the stream was made with history=False"
        raise FeatureError(f"segmentation: {why}")
    times = state.times.read(0, state.decided)[0] if state.times.end else None
    scores = np.concatenate(state.scores)
    base = None if times is None else state.time_base
    found = Segmentation.from_scores(state.task.name, scores, SceneDecision(state.threshold), times, base)
    return replace(found, remarks=remarks_of(state.check, state.decided))


def acts_of(state: StreamState, engine: Segmenter | None) -> Callable[[], LiveActs]:
    """``Stream.acts`` of the shots so far by the act model, to be called once the stream may go on."""
    if engine is None:
        raise UnsupportedError("acts: expected a stream made with an act model: engine.stream(acts=...)")
    if not state.num_shots:
        raise FeatureError("acts: no shot has come yet")
    names = [modality.name for modality in engine.config.modalities]
    arrays = state.act_features.read(0, state.num_shots)
    times = state.times.read(0, state.num_shots)[0] if state.times.end else None
    base = None if times is None else state.time_base
    movie, provisional = Features(dict(zip(names, arrays, strict=True)), times, base), not state.closed
    return lambda: LiveActs(engine.segment(movie), provisional)

"""Where a stream stands: the shots that its later decisions need, what is decided, and what to run next."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.backends.protocol import Backend, Check, Excerpt
from megaseg.engine.graph.sequences import Windows
from megaseg.engine.inputs.features import Features, check_times
from megaseg.engine.model.config import ModelConfig
from megaseg.engine.tasks.task import DecidingTask, deciding_task
from megaseg.errors import FeatureError

Arrays = Sequence[NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Event:
    """What a stream says about one shot.

    ``score`` is P(boundary after the shot) and ``boundary`` whether a scene ends with it; the movie's last shot is no
    boundary, as in ``Segmentation.boundaries``. ``final``: nothing that comes can change it. Ticks are in units of the
    stream's ``time_base``, None without times.
    """

    shot: int
    score: float
    boundary: bool
    final: bool
    start_ticks: int | None = None
    end_ticks: int | None = None


class ShotBuffer:
    """The latest shots of several arrays, as they came; copies, since a caller may use its buffers again."""

    def __init__(self, begin: int = 0) -> None:
        self.begin = self.end = begin  # shots of the movie
        self._chunks: deque[list[NDArray[Any]]] = deque()

    def append(self, arrays: Arrays) -> None:
        """The next shots of each array; those of each have the same number of rows."""
        self._chunks.append([np.array(array) for array in arrays])
        self.end += len(arrays[0])

    def drop_before(self, before: int) -> None:
        """Drop every chunk that came at once and lies before this shot."""
        while self._chunks and self.begin + len(self._chunks[0][0]) <= before:
            self.begin += len(self._chunks.popleft()[0])

    def read(self, begin: int, end: int) -> list[NDArray[Any]]:
        """Rows of shots ``begin`` to ``end``, at least one, of each array."""
        at, parts = self.end, []
        for chunk in reversed(self._chunks):
            at -= len(chunk[0])
            if at < end:
                parts.append([array[max(0, begin - at) : end - at] for array in chunk])
            if at <= begin:
                break
        return parts[0] if len(parts) == 1 else [np.concatenate(part) for part in zip(*parts[::-1], strict=True)]


@dataclass(frozen=True, slots=True)
class StreamBatch:
    """What a stream runs next: the windows of shots that become final, and of those that get a provisional decision.

    ``excerpts`` has one for each of the two that is not empty; ``read`` is the end of the shots that the first sees.
    """

    excerpts: tuple[Excerpt, ...]
    final: range
    provisional: range
    read: int


class StreamState:
    """Where a stream stands: ``append`` takes shots, ``batch`` says what to run, ``advance`` gives its events.

    Not safe to share between threads.
    """

    def __init__(
        self,
        config: ModelConfig,
        backend: Backend,
        *,
        threshold: float,
        provisional: bool = False,
        acts: ModelConfig | None = None,
        history: bool = True,
    ) -> None:
        self.config, self.backend, self.acts = config, backend, acts
        self.task = deciding_task(config.task, "stream")
        self.threshold, self.provisional, self.history = threshold, provisional, history
        self.check = Check(partial(_unsure, self.task, threshold))  # not a method: no cycle keeps a closed stream
        own = config.sequences
        self.half = own.half if isinstance(own, Windows) else 0
        self.num_shots = self.decided = self.delivered = self.provisional_end = 0
        self.closed = False
        self.time_base: Fraction | None = None
        self.features, self.times, self.act_features = ShotBuffer(), ShotBuffer(), ShotBuffer()
        self.scores: list[NDArray[np.float32]] = []  # of decided shots, with history
        self._cache = backend.new_cache()
        self._cached_end = 0  # end of the shots that ``_cache`` has seen

    def append(self, shots: Features) -> None:
        """Take the movie's next shots; an error takes none of them.

        Raises:
            FeatureError: features that do not fit the models, times that do not go on from those before, a closed
                stream.
        """
        if self.closed:
            raise FeatureError("push: the stream is closed")
        own = self._check(self._own(shots, self.config))
        act_features = _arrays(self._own(shots, self.acts), self.acts) if self.acts else None
        if shots.times is not None or self.times.end:
            self._append_times(shots)
        self._keep(own)
        if act_features:
            self.act_features.append(act_features)
        self.num_shots += shots.num_shots

    def _own(self, shots: Features, config: ModelConfig) -> Features:
        """The features for one of the models; together they take all."""
        own = {modality.name for modality in config.modalities}
        others = {m.name for model in (self.config, self.acts) if model for m in model.modalities} - own
        modalities = {name: array for name, array in shots.modalities.items() if name not in others}
        if modalities.keys() != shots.modalities.keys():
            tokens = {name: ids for name, ids in shots.token_shots.items() if name in modalities}
            shots = Features(modalities, recipe=shots.recipe, token_shots=tokens)
        return shots

    def _check(self, shots: Features) -> Any:
        """The next shots of the model, for ``_keep``; raises FeatureError where they do not fit."""
        return _arrays(shots, self.config)

    def _keep(self, checked: Any) -> None:
        """Keep the next shots of the model, which have been checked."""
        self.features.append(checked)

    def _append_times(self, shots: Features) -> None:
        if shots.times is None or self.times.end != self.num_shots:
            some, other = ("some", "none") if shots.times is None else ("none", "some")
            raise FeatureError(f"times: expected all of a stream's shots with times or none, got {some}, then {other}")
        if self.num_shots and shots.time_base != self.time_base:
            raise FeatureError(f"time_base: expected {self.time_base} as before, got {shots.time_base}")
        if self.num_shots:
            (last,) = self.times.read(self.num_shots - 1, self.num_shots)
            check_times(np.concatenate([last, shots.times]), shots.time_base, 1 + shots.num_shots)
        self.time_base = shots.time_base
        self.times.append([shots.times])

    @property
    def ready(self) -> int:
        """End of the shots that can be decided: windows of later ones reach beyond what has come.

        The latest waits even where windows do not look ahead (L = 1): it may be the movie's last.
        """
        return self.num_shots if self.closed else max(self.decided, self.num_shots - max(1, self.half))

    def _undecided(self) -> range:
        """New shots that get a provisional decision, on what has come so far."""
        begin = max(self.ready, self.provisional_end)
        return range(begin, self.num_shots if self.provisional and not self.closed else begin)

    def wanted(self) -> int:
        """Windows that can run."""
        return self.ready - self.decided + len(self._undecided())

    def batch(self, most: int) -> StreamBatch:
        """What to run next, at most this many final windows; provisional ones come with the last of these."""
        final = range(self.decided, min(self.ready, self.decided + most))
        later = self._undecided() if final.stop == self.ready else range(0)
        read = min(self.num_shots, final.stop + self.half)
        excerpts = []
        if final:
            begin = self._cached_end if self._cache and self._cache.shots else max(0, final.start - self.half)
            excerpts.append(self._excerpt(begin, read, final, self._cache, final.start))
        if later:
            excerpts.append(self._excerpt(max(0, later.start - self.half), self.num_shots, later))
        return StreamBatch(tuple(excerpts), final, later, read)

    def _excerpt(self, begin: int, end: int, windows: range, cache: Any = None, row: int | None = None) -> Excerpt:
        """Shots from ``begin`` to ``end`` after those that ``cache`` holds."""
        if begin < end:
            rows = self.features.read(begin, end)
        else:
            rows = [np.empty((0, modality.feature_size), modality.type) for modality in self.config.modalities]
        first = begin - (cache.shots if cache else 0)
        return Excerpt(rows, windows.start - first, windows.stop - first, cache, self.check, row)

    def advance(self, batch: StreamBatch, logits: Sequence[NDArray[np.float32]]) -> tuple[list[Event], list[Event]]:
        """Final and provisional events of a batch whose windows have run."""
        scores = [self.task.scores(rows) for rows in logits]
        final = self._events(batch.final, scores[0], True) if batch.final else []
        later = self._events(batch.provisional, scores[-1], False) if batch.provisional else []
        if batch.final:
            self.decided, self._cached_end = batch.final.stop, batch.read
            if self.history:
                self.scores.append(scores[0])
        self.provisional_end = max(self.provisional_end, batch.provisional.stop)
        return final, later

    def advance_alone(self) -> list[Event]:
        """Final events of shots that what has come decides without another window: here none."""
        return []

    def _events(self, shots: range, scores: NDArray[np.float32], final: bool) -> list[Event]:
        last = self.num_shots - 1 if self.closed else -1
        times = self.times.read(shots.start, shots.stop)[0].tolist() if self.times.end else [(None, None)] * len(shots)
        # In float64, as Segmentation decides.
        return [
            Event(shot, score, score >= self.threshold and shot != last, final, *ticks)
            for shot, score, ticks in zip(shots, scores.tolist(), times, strict=True)
        ]

    def deliver(self, end: int) -> None:
        """Forget what only the events of shots before ``end`` needed: the caller has them."""
        self.delivered = end
        self._drop()
        if not self.history and not self.acts:
            self.times.drop_before(end)

    def _drop(self) -> None:
        self.features.drop_before(self.kept_begin)

    @property
    def kept_begin(self) -> int:
        """First shot whose features what is not delivered needs."""
        return max(0, self.delivered - self.half)

    def kept(self) -> dict[str, NDArray[Any]]:
        """Features of the shots from ``kept_begin`` on, at least one, as a mapping that ``Features`` is read from."""
        names = [modality.name for modality in self.config.modalities]
        return dict(zip(names, self.features.read(self.kept_begin, self.num_shots), strict=True))

    def go_on(self, kept: Features | None) -> None:
        """Take the kept features of a stream that stood where this one does, by its counts.

        Raises:
            FeatureError: features that do not fit the model.
        """
        self.features = ShotBuffer(self.kept_begin)
        if kept is not None:
            self._keep(self._check(kept))


def _unsure(task: DecidingTask, threshold: float, logits: NDArray[np.float32], margin: float) -> NDArray[np.bool_]:
    return task.unsure(logits, margin, task.decision({"threshold": threshold}, None, logits))


def _arrays(shots: Features, config: ModelConfig) -> Arrays:
    own = shots.completed(config.modalities) if config.absent_as_zeros else shots
    return own.ordered_for(config.modalities, config.recipe)

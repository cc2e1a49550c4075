"""Sequences: streams of shots that clients push under a sequence id, from a start to an end."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from megaseg.engine.tasks.task import deciding_tasks
from megaseg.errors import FeatureError, OverloadedError, UnsupportedError
from megaseg.serving.errors import RequestError, SequenceError
from megaseg.serving.logs import log
from megaseg.serving.models import Model
from megaseg.serving.offload import submitted
from megaseg.serving.parameters import Parameters
from megaseg.serving.settings import Limits

if TYPE_CHECKING:
    from megaseg.engine.live.scheduler import ScheduledStream
    from megaseg.engine.live.stream import Event

Key = tuple[str, int | str]  # model name, sequence id
Arrays = Mapping[str, Any]  # a push's features, and its times and time base if it has them


class _Sequence:
    """An open sequence. ``order`` lets its pushes into the scheduler in the order in which they came."""

    def __init__(self, model: Model, stream: ScheduledStream) -> None:
        self.model, self.stream = model, stream
        self.order = asyncio.Lock()
        self.pushes = 0  # in flight
        self.idle: asyncio.TimerHandle | None = None


class Sequences:
    """The open sequences of a service; used from one event loop."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open: dict[Key, _Sequence] = {}

    def __len__(self) -> int:
        return len(self._open)

    async def push(
        self, model: Model, sequence_id: int | str, parameters: Parameters, arrays: Arrays | None
    ) -> tuple[Event, ...]:
        """Push shots, if any, to a sequence; start and end the sequence where asked. Returns the new events.

        A start under the id of an open sequence ends the open one. A push that is refused (a full queue, bad features)
        leaves the sequence as it was; the events of a push that is cancelled or late come with the next push, or with
        the end asked for again.

        Raises:
            SequenceError: the sequence is not open. RequestError: no shots and no end.
            OverloadedError: a full queue, or too many sequences. FeatureError, DeadlineExceeded: of the push.
        """
        if arrays is None and not parameters.sequence_end:
            raise RequestError("inputs: expected at least one shot, or sequence_end")
        key = (model.name, sequence_id)
        if parameters.sequence_start:
            self._start(key, model, parameters.decision)
        sequence = self._expect(key, model)
        with self._in_flight(key, sequence):
            try:
                events = await self._through(sequence, parameters, arrays)
            except BaseException as error:
                if self._open.get(key) is not sequence and isinstance(error, (asyncio.CancelledError, FeatureError)):
                    raise self._missing(key) from error  # dropped: its stream was cancelled, or takes no more
                if not sequence.stream.num_shots:
                    self._drop(key, sequence, "not started")
                raise
            if parameters.sequence_end:
                self._drop(key, sequence, "ended")
            return events

    def _expect(self, key: Key, model: Model) -> _Sequence:
        sequence = self._open.get(key)
        if sequence is None or sequence.model is not model:
            raise self._missing(key)
        return sequence

    def _missing(self, key: Key) -> SequenceError:
        return SequenceError(
            f"sequence {key[1]!r:.60} of model {key[0]!r}: expected an open one, got one that never started "
            f"(sequence_start), has ended, or was dropped (idle for {self._limits.idle_seconds:g} s, started again, or "
            "its model unloaded)"
        )

    async def _through(self, sequence: _Sequence, parameters: Parameters, arrays: Arrays | None) -> tuple[Event, ...]:
        stream, timeout = sequence.stream, parameters.timeout
        futures: list[Future[tuple[Event, ...]]] = []
        async with sequence.order:
            if arrays is not None:
                futures.append(await submitted(stream.submit, arrays, timeout=timeout))
            if parameters.sequence_end:
                futures.append(stream.submit_close(timeout=timeout))
        answers = await asyncio.gather(*map(asyncio.wrap_future, futures))
        return tuple(event for events in answers for event in events)

    def _start(self, key: Key, model: Model, decision: dict[str, Any]) -> None:
        if not model.task.streams:
            expected = " or ".join(task.name for task in deciding_tasks() if task.streams)
            raise UnsupportedError(
                f"sequence_id: expected a {expected} model, got {model.name!r} of task {model.task.name}"
            )
        if (old := self._open.get(key)) is not None:
            self._drop(key, old, "restarted")
        if len(self._open) >= self._limits.max_streams:
            raise OverloadedError(f"sequences: expected up to {self._limits.max_streams} open, got one more")
        self._open[key] = _Sequence(model, model.scheduler.stream(history=False, **decision))

    def drop_others(self, models: Collection[Model]) -> None:
        """Drop the sequences of models other than these."""
        for key, sequence in list(self._open.items()):
            if sequence.model not in models:
                self._drop(key, sequence, "model unloaded")

    @contextmanager
    def _in_flight(self, key: Key, sequence: _Sequence) -> Iterator[None]:
        """Count a push in flight: a sequence with one is not idle."""
        if sequence.idle is not None:
            sequence.idle.cancel()
        sequence.pushes += 1
        try:
            yield
        finally:
            sequence.pushes -= 1
            if not sequence.pushes and self._open.get(key) is sequence:
                loop = asyncio.get_running_loop()
                sequence.idle = loop.call_later(self._limits.idle_seconds, self._drop, key, sequence, "idle")

    def _drop(self, key: Key, sequence: _Sequence, reason: str) -> None:
        if self._open.get(key) is not sequence:
            return
        del self._open[key]
        if sequence.idle is not None:
            sequence.idle.cancel()
        sequence.stream.cancel()
        log("sequence closed", model=key[0], sequence=key[1], reason=reason)

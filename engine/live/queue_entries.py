"""What stands in line at a scheduler: one movie's request, or one stream, each with the jobs that wait for it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Literal, Protocol

from megaseg.engine.backends.protocol import LOGITS, Excerpt, Rows
from megaseg.engine.live.movie_work import MovieWork
from megaseg.engine.live.state import Event, StreamBatch, StreamState
from megaseg.errors import DeadlineExceeded, UnsupportedError

_log = logging.getLogger(__name__)


class JobFuture(Future[Any]):
    """A future whose callbacks do no harm: what one raises, ``SystemExit`` too, is logged, and the rest are called."""

    def add_done_callback(self, fn: Callable[[Future[Any]], object]) -> None:
        def guarded(future: Future[Any]) -> None:
            try:
                fn(future)
            except BaseException:  # noqa: BLE001 (also what would end the thread that resolves it)
                _log.exception("callback of a request failed: %r", fn)

        super().add_done_callback(guarded)


@dataclass(frozen=True, slots=True)
class Finished:
    """A job's end, for its future: a value when completed, else an error, or nothing for one that was cancelled."""

    job: Job
    ending: Literal["completed", "expired", "cancelled", "failed"]
    outcome: Any = None

    def resolve(self) -> None:
        """End the future, outside all locks: its callbacks may submit more."""
        if self.ending == "completed":
            self.job.future.set_result(self.outcome)
        elif self.ending != "cancelled":
            self.job.future.set_exception(self.outcome)


@dataclass(eq=False, slots=True)
class Job:
    """One caller's wait: until ``deadline`` (monotonic seconds), on a stream for all decisions before ``target``."""

    deadline: float | None = None
    future: Future[Any] = field(default_factory=JobFuture)
    target: int = 0
    provisional_end: int = 0  # shots that are to have a provisional decision as well
    _claim: threading.Lock = field(default_factory=threading.Lock)
    _claimed: bool | None = None  # False: cancelled before

    @classmethod
    def within(cls, timeout: float | None) -> Job:
        """A job with this many seconds from now; more than a thread can wait (centuries, or infinity) are no limit.

        Raises:
            UnsupportedError: a timeout that is not a positive number.
        """
        if timeout is None:
            return cls()
        if not isinstance(timeout, Real) or isinstance(timeout, bool) or not timeout > 0:
            raise UnsupportedError(f"timeout: expected a positive number of seconds or None, got {timeout!r:.80}")
        if timeout > threading.TIMEOUT_MAX - 1:  # a second for what adding the clock rounds up
            return cls()
        return cls(time.monotonic() + float(timeout))

    @property
    def left(self) -> float | None:
        """Seconds until the deadline, not below 0."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def stale(self) -> bool:
        """Cancelled, or too late."""
        return self.future.cancelled() or self.left == 0.0

    def settle(self, value: Any = None, error: Exception | None = None) -> Finished:
        """Claim the future, which nobody can cancel from here on, and say how the job ends."""
        with self._claim:  # a scheduler whose thread ends may settle what a caller does
            if self._claimed is None:
                self._claimed = self.future.set_running_or_notify_cancel()
        if not self._claimed:
            return Finished(self, "cancelled")
        if error is not None:
            return Finished(self, "failed", error)
        if self.left == 0.0:
            return Finished(self, "expired", DeadlineExceeded("request: its result was not ready before its deadline"))
        return Finished(self, "completed", value)


def waited(future: Future[Any]) -> Any:
    """The result of a job; a caller who is interrupted cancels it."""
    try:
        return future.result()
    finally:
        future.cancel()  # no-op once the result is there


class QueueEntry(Protocol):
    """Work that a scheduler shares its batches out to."""

    outputs: tuple[str, ...]
    """Of the model, those that it needs."""

    def wanted(self) -> int:
        """Windows (shots, where the model sees whole movies) that can run."""
        ...

    def take(self, most: int) -> Sequence[Excerpt]:
        """What the backend is to run, at most this many windows; the same again until ``give``."""
        ...

    def give(self, runs: Sequence[Rows]) -> list[Finished]:
        """The outputs of what was taken; jobs that end with them. An error leaves its jobs waiting."""
        ...

    def jobs(self) -> list[Job]:
        """Those that wait."""
        ...

    def drop(self, jobs: Sequence[Job]) -> list[Job]:
        """Forget jobs that end without their result; those of them that still waited."""
        ...


class RequestEntry:
    """One movie: its work on the model for some of the outputs, and what ``finish`` makes of the movie's rows."""

    def __init__(self, work: MovieWork, outputs: Sequence[str], finish: Callable[[Rows], Any], job: Job) -> None:
        self.job, self.outputs = job, tuple(outputs)
        self._work, self._finish = work, finish
        self._waits = True

    def wanted(self) -> int:
        return self._work.wanted()

    def take(self, most: int) -> Sequence[Excerpt]:
        return self._work.take(most)

    def give(self, runs: Sequence[Rows]) -> list[Finished]:
        rows = self._work.give(runs)
        if rows is None:
            return []
        result = self._finish(rows)
        self._waits = False
        return [self.job.settle(result)]

    def jobs(self) -> list[Job]:
        return [self.job] if self._waits else []

    def drop(self, jobs: Sequence[Job]) -> list[Job]:
        dropped = [job for job in self.jobs() if job in jobs]
        self._waits = self._waits and not dropped
        return dropped


class StreamEntry:
    """A stream: callers append shots and jobs, the scheduler's thread takes, gives and drops."""

    outputs: tuple[str, ...] = (LOGITS,)

    def __init__(self, state: StreamState) -> None:
        self.state, self.lock = state, threading.Lock()
        self._jobs: deque[Job] = deque()
        self._batch: StreamBatch | None = None
        self._final: deque[Event] = deque()  # decided, and not delivered
        self._provisional: list[Event] = []

    def add(self, job: Job) -> list[Finished]:
        """A job for all that can be decided now (with ``lock`` held); it may have nothing to wait for."""
        state = self.state
        job.target = state.ready
        job.provisional_end = state.num_shots if state.provisional and not state.closed else 0
        self._jobs.append(job)
        return self._complete()

    def wanted(self) -> int:
        return self.state.wanted()

    def take(self, most: int) -> Sequence[Excerpt]:
        with self.lock:
            self._batch = self.state.batch(most)
            return self._batch.excerpts

    def give(self, runs: Sequence[Rows]) -> list[Finished]:
        with self.lock:
            assert self._batch is not None
            final, self._provisional = self.state.advance(self._batch, [logits for (logits,) in runs])
            self._final += final
            return self._complete()

    def _complete(self) -> list[Finished]:
        """End the jobs whose decisions are there, in order; events of one that was given up go to the next."""
        state, finished = self.state, []
        self._final += state.advance_alone()
        seen = max(state.decided, state.provisional_end)
        while self._jobs and self._jobs[0].target <= state.decided and self._jobs[0].provisional_end <= seen:
            job = self._jobs[0]
            events = [event for event in self._final if event.shot < job.target]
            last = len(self._jobs) == 1 or self._jobs[1].provisional_end > seen
            self._jobs.popleft()
            finished.append(job.settle((*events, *(self._provisional if last else ()))))
            if finished[-1].ending == "completed":
                for _ in events:
                    self._final.popleft()
                state.deliver(max(state.delivered, job.target))
        return finished

    def jobs(self) -> list[Job]:
        return list(self._jobs)

    def drop(self, jobs: Sequence[Job]) -> list[Job]:
        with self.lock:  # a caller may just have completed its own
            dropped = [job for job in self._jobs if job in jobs]
            for job in dropped:
                self._jobs.remove(job)
        return dropped

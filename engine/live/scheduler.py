"""Batches across callers: one scheduler gathers the windows of all streams and requests of an engine."""

from __future__ import annotations

import asyncio
import atexit
import itertools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from numbers import Integral, Real
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.backends.protocol import LOGITS, Excerpt, Rows
from megaseg.engine.graph.sequences import Strided, Whole
from megaseg.engine.inputs.feature_files import FeatureSource, as_features
from megaseg.engine.live.admission import Admission, SchedulerStats
from megaseg.engine.live.movie_work import work_of
from megaseg.engine.live.queue_entries import Finished, Job, QueueEntry, RequestEntry, waited
from megaseg.engine.live.scheduled_stream import ScheduledStream
from megaseg.engine.live.segmenter import Segmenter
from megaseg.engine.live.stream import new_state, resumed_state
from megaseg.engine.model.family import structure_of
from megaseg.engine.results.segmentation import Segmentation
from megaseg.engine.tasks.task import deciding_task
from megaseg.errors import MegasegError, UnsupportedError

__all__ = ["BatchReport", "ScheduledStream", "Scheduler", "SchedulerStats"]
Share = tuple[QueueEntry, int]  # and how many windows of it
_HOUR = 3_600_000_000  # us
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BatchReport:
    """One batch that has run: its windows (shots, for an act model), whose they were, how long, and who waits."""

    windows: int
    requests: int
    seconds: float
    queued: int


class Scheduler:
    """Runs the work of many callers on one engine in full batches, in a thread of its own.

    Requests and streams take turns: a batch is shared out equally among those that wait, so that a long movie and many
    live streams do not hold each other up. An act model's movies run whole, several short ones together. Results are
    those of ``Engine.segment`` and ``Engine.stream``. Safe to share between threads and event loops; close it, or use
    it as a context manager.
    """

    def __init__(
        self,
        engine: Segmenter,
        *,
        max_batch_size: int = 64,
        max_queue_delay_us: int = 0,
        max_queue: int = 1024,
        on_batch: Callable[[BatchReport], None] | None = None,
    ) -> None:
        """Start the thread.

        Args:
            max_batch_size: most windows (shots, for an act model) that run together; a batch in state is what a new
                shot waits for, so that smaller ones answer sooner.
            max_queue_delay_us: how long a batch that is not full waits for more, an hour at most, but no longer than
                half of the time that any of its requests has left; 0 runs what is there.
            max_queue: most requests and pushes that are accepted and not finished.
            on_batch: called after each batch in the scheduler's thread; to be quick. What it raises is logged.

        Raises:
            UnsupportedError: a number of another type, or out of its range.
        """
        self.engine = engine
        self.max_batch_size = int(_within("max_batch_size", max_batch_size, Integral, 1, 2**31 - 1))
        self.max_queue = int(_within("max_queue", max_queue, Integral, 1, 2**31 - 1))
        self._delay = float(_within("max_queue_delay_us", max_queue_delay_us, Real, 0, _HOUR)) / 1e6
        self._on_batch = on_batch
        self.admission = Admission(self.max_queue)
        self._lock = threading.RLock()  # taken itself: ``with`` of a Condition can be interrupted with the lock held
        self._changed = threading.Condition(self._lock)
        self._entries: dict[QueueEntry, float] = {}  # in line, and since when (monotonic seconds)
        self._taken: list[QueueEntry] = []  # those of the batch in state
        self._closed = self._ended = False
        self._thread = threading.Thread(target=self._work, name="megaseg-scheduler", daemon=True)
        self._thread.start()
        atexit.register(self.close, cancel=True)  # a thread inside C++ must not outlive the interpreter

    def submit(
        self, features: FeatureSource, *, timeout: float | None = None, wait: bool = False, **decision: Any
    ) -> Future[Segmentation]:
        """``Engine.segment`` as a future: for callbacks (called in the scheduler's thread), and to cancel.

        ``cancel()`` works until the result is there: what has not run will not.

        Args:
            timeout: seconds from now until the result is of no use; checked between batches.
            wait: wait for room in a full queue, within ``timeout``.
            decision: keywords of ``Engine.segment``.

        Raises:
            OverloadedError: the queue is full, at once.
            DeadlineExceeded: no room within ``timeout``; from the future where the result comes too late.
            FeatureError, UnsupportedError, TypeError: as ``Engine.segment``; from the future a decision that the
                movie's length does not allow.
            UnsupportedError: the scheduler is closed; from the future where its thread has ended.
        """
        job = Job.within(timeout)
        self.admission.admit(job, partial(self._enter, features, decision), wait=wait)
        return job.future

    def segment(
        self, features: FeatureSource, *, timeout: float | None = None, wait: bool = False, **decision: Any
    ) -> Segmentation:
        """``submit``, and wait for the result; interrupted (Ctrl-C), the request is cancelled."""
        result: Segmentation = waited(self.submit(features, timeout=timeout, wait=wait, **decision))
        return result

    async def segment_async(
        self, features: FeatureSource, *, timeout: float | None = None, wait: bool = False, **decision: Any
    ) -> Segmentation:
        """``submit``, and await the result; a cancelled task cancels the request."""
        job = Job.within(timeout)
        await self.admission.admit_async(job, partial(self._enter, features, decision), wait=wait)
        result: Segmentation = await asyncio.wrap_future(job.future)
        return result

    def submit_outputs(
        self, features: FeatureSource, names: Sequence[str], *, timeout: float | None = None, wait: bool = False
    ) -> Future[dict[str, NDArray[np.float32]]]:
        """``Engine.outputs`` as a future, of the outputs named; else as ``submit``.

        Raises:
            OverloadedError, DeadlineExceeded: as ``submit``.
            FeatureError, UnsupportedError: as ``Engine.outputs``; a scheduler gives no parts.
        """
        job = Job.within(timeout)
        self.admission.admit(job, partial(self._enter_outputs, features, names), wait=wait)
        return job.future

    def stream(self, *, acts: Segmenter | None = None, **options: Any) -> ScheduledStream:
        """A stream whose windows share batches with everybody's; ``options`` as ``Engine.stream``.

        Raises:
            UnsupportedError, FeatureError: as ``Engine.stream``.
        """
        return ScheduledStream(self, new_state(self.engine, acts=acts, **options), acts)

    def resume(self, snapshot: bytes, *, acts: Segmenter | None = None) -> ScheduledStream:
        """A stream that goes on where a snapshot was taken; raises as ``Engine.resume``."""
        return ScheduledStream(self, resumed_state(self.engine, snapshot, acts), acts)

    def require_room(self) -> None:
        """For callers with work to do before they submit: a full queue refuses here too, and counts it.

        Raises:
            OverloadedError: the queue is full.
            UnsupportedError: the scheduler is closed.
        """
        self.admission.require_room()

    @property
    def closed(self) -> bool:
        """Whether it accepts nothing more: ``close`` was called, or its thread has ended."""
        return self._closed

    def stats(self) -> SchedulerStats:
        """Counts so far: accepted = completed + expired + cancelled + failed + queued."""
        return self.admission.stats()

    def close(self, *, cancel: bool = False) -> None:
        """Accept nothing more, finish what was accepted or cancel it, and end the thread; no-op in a forked child."""
        if self.admission.forked:
            return
        atexit.unregister(self.close)
        self.admission.close("it accepts nothing more")
        with self._lock:
            self._closed = True
            self._changed.notify_all()
        for job in self.admission.jobs() if cancel else ():
            job.future.cancel()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def __enter__(self) -> Scheduler:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _enter(self, features: FeatureSource, decision: dict[str, Any], job: Job) -> None:
        """Check a request that has its place, and have it run; a full queue refuses without looking at features."""
        engine, source = self.engine, as_features(features)
        given = deciding_task(engine.config.task, "segment").given(decision)

        check = engine.check(source, given)

        def decided(rows: Rows) -> Segmentation:
            return engine.decide(source, engine.to_shots(rows[0], source), given, check)

        self.enqueue(RequestEntry(work_of(engine, source, check), (LOGITS,), decided, job))

    def _enter_outputs(self, features: FeatureSource, names: Sequence[str], job: Job) -> None:
        """``_enter`` for outputs."""
        engine, source = self.engine, as_features(features)
        graph = structure_of(engine.config)
        one = [graph.rows(graph.output(name), 2) == 1 for name in names]

        def shaped(rows: Rows) -> dict[str, NDArray[np.float32]]:
            own = zip(names, rows, one, strict=True)
            return {name: array if whole else engine.to_shots(array, source) for name, array, whole in own}

        self.enqueue(RequestEntry(work_of(engine, source), names, shaped, job))

    def enqueue(self, entry: QueueEntry) -> None:
        """Have a entry's jobs run; it may stand in line already.

        Raises:
            UnsupportedError: the thread has ended.
        """
        with self._lock:
            if self._ended:
                raise self.admission.closed()
            if entry not in self._taken:
                self._entries.setdefault(entry, time.monotonic())
                self._changed.notify()

    def finish(self, finished: Sequence[Finished]) -> None:
        """Count ends, and resolve their futures."""
        for end in finished:
            if self.admission.leave(end.job, end.ending):
                end.resolve()

    # The thread.

    def _work(self) -> None:
        failure: BaseException | None = None
        try:
            while self._serve():
                pass
        except BaseException as error:  # noqa: BLE001 (a defect, no memory)
            failure = error
        self._end(failure)

    def _end(self, failure: BaseException | None) -> None:
        """Nobody waits for a thread that has ended, however it ended."""
        with self._lock:
            self._closed = self._ended = True
        self.admission.close(f"its thread ended with {failure!r}")
        for job in self.admission.jobs():
            self.finish([job.settle(error=self.admission.closed())])
        if failure is not None:
            _log.critical("scheduler closed: its thread ended", exc_info=failure)

    def _serve(self) -> bool:
        """Run one batch, once there is work; False when closed and nothing is in line."""
        with self._lock:
            while not self._entries and not self._closed:
                self._changed.wait()
            if not self._entries:
                self._ended = True  # in the same breath: nothing enters in between
                return False
            self._gather()
            stale = self._drop_stale()
            shares = self._shares()
            self._taken = [entry for entry, _ in shares]
            for entry in self._taken:
                del self._entries[entry]
        self.finish(stale)
        if shares:
            self._run(shares)
        return True

    def _gather(self) -> None:
        """Wait for a full batch, as long as those in line may be kept waiting."""
        while self._delay and not self._closed:
            waiting = sum(entry.wanted() for entry in itertools.islice(self._entries, self.max_batch_size))
            left = self._run_by() - time.monotonic()
            if left <= 0 or waiting >= self.max_batch_size:
                return
            self._changed.wait(left)

    def _run_by(self) -> float:
        """Monotonic seconds: the delay after the first in line came, or half-way to the nearest deadline."""
        halves = (
            (since + job.deadline) / 2
            for entry, since in self._entries.items()
            for job in entry.jobs()
            if job.deadline is not None
        )
        return min(itertools.chain([next(iter(self._entries.values())) + self._delay], halves))

    def _drop_stale(self) -> list[Finished]:
        """End the jobs that were cancelled or are too late, and entries that nobody waits for any more."""
        finished = []
        for entry in list(self._entries):
            if stale := [job for job in entry.jobs() if job.stale()]:
                finished += [job.settle() for job in entry.drop(stale)]
            if not entry.jobs():
                del self._entries[entry]
        return finished

    def _shares(self) -> list[Share]:
        """Flows of the next batch and how many windows each gets: equal shares, and what some leave to the others."""
        first = list(itertools.islice(self._entries, self.max_batch_size))
        left = self.max_batch_size
        if isinstance(self.engine.config.sequences, Whole):
            totals = itertools.accumulate(entry.wanted() for entry in first)
            fit = sum(total <= left for total in totals)
            return [(entry, entry.wanted()) for entry in first[: max(1, fit)]]
        shares = []
        wanted = [(entry.wanted(), entry) for entry in first]
        for index, (most, entry) in enumerate(sorted(wanted, key=itemgetter(0))):
            share = min(most, left // (len(first) - index))
            shares.append((entry, share))
            left -= share
        return shares

    def _run(self, shares: Sequence[Share]) -> None:
        start = time.perf_counter()
        finished: list[Finished] = []
        windows = self._try(shares, finished)
        with self._lock:
            self._taken = []
            now = time.monotonic()
            self._entries.update((entry, now) for entry, _ in shares if entry.jobs())
        queued = self.stats().queued - len(finished)
        self.finish(finished)
        if self._on_batch:
            try:
                self._on_batch(BatchReport(windows, len(shares), time.perf_counter() - start, queued))
            except BaseException:  # noqa: BLE001 (also what would end the thread)
                _log.exception("on_batch failed")

    def _try(self, shares: Sequence[Share], finished: list[Finished]) -> int:
        """Run a batch, or if that fails each of its parts alone: the others do not suffer for one."""
        try:
            work = [entry.take(share) for entry, share in shares]
            excerpts = list(itertools.chain.from_iterable(work))
            outputs = tuple(dict.fromkeys(name for entry, _ in shares for name in entry.outputs))
            runs = [tuple(run) for run in self.engine.backend.run(excerpts, outputs)] if excerpts else []
            if len(runs) != len(excerpts):
                raise MegasegError(f"batch: expected the outputs of {len(excerpts)} excerpts, got {len(runs)}")
        except BaseException as error:  # noqa: BLE001 (whatever it is, it belongs to those whose work it was)
            if len(shares) > 1:
                return sum(self._try([share], finished) for share in shares)
            ((entry, _),) = shares
            finished += _failed(entry, entry.jobs(), error)
            return 0
        rest = iter(runs)
        for (entry, _), own in zip(shares, work, strict=True):
            jobs, places = entry.jobs(), [outputs.index(name) for name in entry.outputs]
            try:
                finished += entry.give([tuple(run[at] for at in places) for run in itertools.islice(rest, len(own))])
            except BaseException as error:  # noqa: BLE001 (a decision that cannot be: the caller's)
                finished += _failed(entry, jobs, error)
        return self._windows(excerpts)

    def _windows(self, excerpts: Sequence[Excerpt]) -> int:
        """Windows that a batch has run (shots, where the model sees whole movies)."""
        if isinstance(self.engine.config.sequences, Strided):
            return len(excerpts)
        return sum(excerpt.last - excerpt.first for excerpt in excerpts)


def _failed(entry: QueueEntry, jobs: Sequence[Job], error: BaseException) -> list[Finished]:
    """Jobs that end with an error; one that would end its caller's thread or event loop becomes a MegasegError."""
    entry.drop(jobs)
    if not isinstance(error, Exception):
        ended = MegasegError(f"batch: ended by {error!r}")
        ended.__cause__, error = error, ended
    return [job.settle(error=error) for job in jobs]


def _within(name: str, value: Any, kind: type, least: int, most: int) -> Any:
    """An option that is a number of its kind and range."""
    if not isinstance(value, kind) or isinstance(value, bool) or not least <= value <= most:  # type: ignore[operator]
        expected = "an integer" if kind is Integral else "a number"
        raise UnsupportedError(f"{name}: expected {expected} from {least} to {most}, got {value!r:.80}")
    return value

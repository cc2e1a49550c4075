"""Batches across callers: one scheduler gathers the windows of all streams and requests of an engine."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout  # its own class until Python 3.11
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from megaseg.engine.features import FeatureSource, as_features
from megaseg.engine.flows import Finished, Flow, Job, RequestFlow
from megaseg.engine.live import ScheduledStream
from megaseg.engine.segmentation import Segmentation
from megaseg.engine.snapshot import read_snapshot
from megaseg.engine.streaming import new_progress
from megaseg.errors import DeadlineExceeded, OverloadedError, UnsupportedError

if TYPE_CHECKING:
    from megaseg.engine.engine import Engine

__all__ = ["BatchReport", "ScheduledStream", "Scheduler", "SchedulerStats"]
Share = tuple[Flow, int]  # and how many windows of it


@dataclass(frozen=True, slots=True)
class SchedulerStats:
    """Requests and pushes so far, by their end; ``queued`` are those accepted and not finished."""

    accepted: int = 0
    completed: int = 0
    refused: int = 0
    expired: int = 0
    cancelled: int = 0
    failed: int = 0
    queued: int = 0


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
        engine: Engine,
        *,
        max_batch_size: int = 64,
        max_queue_delay_us: int = 0,
        max_queue: int = 1024,
        on_batch: Callable[[BatchReport], None] | None = None,
    ) -> None:
        """Start the thread.

        Args:
            max_batch_size: most windows (shots, for an act model) that run together; a batch in progress is what a new
                shot waits for, so that smaller ones answer sooner.
            max_queue_delay_us: how long a batch that is not full waits for more; 0 runs what is there.
            max_queue: most requests and pushes that are accepted and not finished.
            on_batch: called after each batch in the scheduler's thread; to be quick.

        Raises:
            UnsupportedError: a number below its least.
        """
        for name, value, least in (
            ("max_batch_size", max_batch_size, 1),
            ("max_queue_delay_us", max_queue_delay_us, 0),
            ("max_queue", max_queue, 1),
        ):
            if value < least:
                raise UnsupportedError(f"{name}: expected at least {least}, got {value}")
        self.engine = engine
        self.max_batch_size, self.max_queue = max_batch_size, max_queue
        self._delay = max_queue_delay_us / 1e6
        self._on_batch = on_batch
        self._changed = threading.Condition()
        self._flows: deque[Flow] = deque()
        self._taken: list[Flow] = []  # those of the batch in progress
        self._waiting: deque[Future[None]] = deque()  # callers that wait for room in the queue
        self._stats = SchedulerStats()
        self._closed, self._process = False, os.getpid()
        self._thread = threading.Thread(target=self._work, name="megaseg-scheduler", daemon=True)
        self._thread.start()

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
            FeatureError, UnsupportedError: as ``Engine.segment``; from the future what the decision does not allow.
        """
        job = Job.within(timeout)
        self.reserve(job, wait)
        self._enter(features, decision, job)
        return job.future

    def segment(
        self, features: FeatureSource, *, timeout: float | None = None, wait: bool = False, **decision: Any
    ) -> Segmentation:
        """``submit``, and wait for the result."""
        return self.submit(features, timeout=timeout, wait=wait, **decision).result()

    async def segment_async(
        self, features: FeatureSource, *, timeout: float | None = None, wait: bool = False, **decision: Any
    ) -> Segmentation:
        """``submit``, and await the result; a cancelled task cancels the request."""
        job = Job.within(timeout)
        await self.reserve_async(job, wait)
        self._enter(features, decision, job)
        result: Segmentation = await asyncio.wrap_future(job.future)
        return result

    def stream(self, **options: Any) -> ScheduledStream:
        """A stream whose windows share batches with everybody's; ``options`` as ``Engine.stream``.

        Raises:
            UnsupportedError, FeatureError: as ``Engine.stream``.
        """
        return ScheduledStream(self, new_progress(self.engine, **options))

    def resume(self, snapshot: bytes, *, acts: Engine | None = None) -> ScheduledStream:
        """A stream that goes on where a snapshot was taken; raises as ``Engine.resume``."""
        return ScheduledStream(self, read_snapshot(self.engine, snapshot, acts, new_progress))

    def expect_room(self) -> None:
        """For callers with work to do before they submit: a full queue refuses here too, and counts it.

        Raises:
            OverloadedError: the queue is full.
        """
        with self._changed:
            if self._stats.queued >= self.max_queue:
                self._refuse()

    def stats(self) -> SchedulerStats:
        """Counts so far: accepted = completed + expired + cancelled + failed + queued."""
        with self._changed:
            return self._stats

    def close(self, *, cancel: bool = False) -> None:
        """Accept nothing more, finish what was accepted or cancel it, and end the thread."""
        with self._changed:
            self._closed = True
            futures = [job.future for flow in (*self._flows, *self._taken) for job in flow.jobs()] if cancel else []
            futures += self._waiting  # theirs wake up and find it closed
            self._changed.notify_all()
        for future in futures:
            future.cancel()
        if threading.current_thread() is not self._thread and os.getpid() == self._process:
            self._thread.join()

    def __enter__(self) -> Scheduler:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _enter(self, features: FeatureSource, decision: dict[str, Any], job: Job) -> None:
        """Check a request that has its place, and have it run; a full queue refuses without looking at features."""
        try:
            self.engine.expect_decisions("segment")
            flow = RequestFlow(self.engine, as_features(features), decision, job)
        except BaseException:
            self.give_back()
            raise
        self.enqueue(flow)

    # For streams as for requests: a place in the queue for each job, and a place in line for each flow.

    def reserve(self, job: Job, wait: bool, *, always: bool = False) -> None:
        """Take a place in the queue for a job; ``always``, whether there is one or not.

        Raises:
            OverloadedError: it is full, and the caller does not wait.
            DeadlineExceeded: it stays full until the job's deadline.
        """
        while room := self._reserve(wait, always):
            try:
                room.result(job.left)
            except (TimeoutError, FutureTimeout) as error:
                self._give_up(room)
                raise self._too_late() from error

    async def reserve_async(self, job: Job, wait: bool) -> None:
        """``reserve`` without blocking the event loop."""
        while room := self._reserve(wait):
            try:
                await asyncio.wait_for(asyncio.wrap_future(room), job.left)
            except BaseException as error:
                self._give_up(room)
                if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
                    raise self._too_late() from error
                raise

    def _reserve(self, wait: bool, always: bool = False) -> Future[None] | None:
        """None with a place taken, or what to wait for before trying again."""
        if os.getpid() != self._process:
            raise UnsupportedError(
                "scheduler used in a forked process: its thread stayed with the parent; make its own"
            )
        with self._changed:
            if self._closed:
                raise UnsupportedError("scheduler: closed, it accepts nothing more")
            if always or self._stats.queued < self.max_queue:
                self._count(accepted=1, queued=1)
                return None
            if wait:
                self._waiting.append(Future())
                return self._waiting[-1]
            self._refuse()

    def _refuse(self) -> NoReturn:
        self._count(refused=1)
        raise OverloadedError(f"queue: {self.max_queue} requests are waiting, as many as max_queue allows; try later")

    def _give_up(self, room: Future[None]) -> None:
        if not room.cancel():  # there was some all the same: the next in line has it
            self._wake_one()

    def _too_late(self) -> DeadlineExceeded:
        with self._changed:
            self._count(refused=1)
        return DeadlineExceeded("queue: no room before the deadline")

    def give_back(self) -> None:
        """A reserved place that is not needed."""
        with self._changed:
            self._count(accepted=-1, queued=-1)
        self._wake_one()

    def _wake_one(self) -> None:
        """Tell the first of those that wait for room that there is some."""
        with self._changed:
            while self._waiting:
                room = self._waiting.popleft()
                if room.set_running_or_notify_cancel():
                    room.set_result(None)
                    return

    def enqueue(self, flow: Flow) -> None:
        """Have a flow's jobs run; it may stand in line already."""
        with self._changed:
            if not flow.queued:
                flow.queued, flow.since = True, time.monotonic()
                self._flows.append(flow)
                self._changed.notify()

    def finish(self, finished: Sequence[Finished]) -> None:
        """Resolve futures, outside all locks: their callbacks may submit more."""
        for end in finished:
            with self._changed:
                self._count(**{end.ending: 1}, queued=-1)
            self._wake_one()
            if end.ending == "completed":
                end.job.future.set_result(end.outcome)
            elif end.ending != "cancelled":
                end.job.future.set_exception(end.outcome)

    def _count(self, **changes: int) -> None:
        stats = self._stats
        self._stats = dataclasses.replace(stats, **{key: getattr(stats, key) + n for key, n in changes.items()})

    # The thread.

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._flows and not self._closed:
                    self._changed.wait()
                if not self._flows:
                    return
                self._gather()
                stale = self._drop_stale()
                shares = self._shares()
                self._taken = [flow for flow, _ in shares]
                taken = set(map(id, self._taken))
                self._flows = deque(flow for flow in self._flows if id(flow) not in taken)
            self.finish(stale)
            if shares:
                self._run(shares)

    def _gather(self) -> None:
        """Wait for a full batch, as long as the first in line may be kept waiting."""
        while self._delay and not self._closed:
            left = self._flows[0].since + self._delay - time.monotonic()
            waiting = sum(flow.wanted() for flow in itertools.islice(self._flows, self.max_batch_size))
            if left <= 0 or waiting >= self.max_batch_size:
                return
            self._changed.wait(left)

    def _drop_stale(self) -> list[Finished]:
        """End the jobs that were cancelled or are too late, and flows that nobody waits for any more."""
        finished = []
        for flow in self._flows:
            if stale := [job for job in flow.jobs() if job.stale()]:
                finished += [job.settle() for job in flow.drop(stale)]
                flow.queued = bool(flow.jobs())
        if finished:
            self._flows = deque(flow for flow in self._flows if flow.queued)
        return finished

    def _shares(self) -> list[Share]:
        """Flows of the next batch and how many windows each gets: equal shares, and what some leave to the others."""
        first = list(itertools.islice(self._flows, self.max_batch_size))
        left = self.max_batch_size
        if self.engine.config.task != "scene":
            totals = itertools.accumulate(flow.wanted() for flow in first)
            fit = sum(total <= left for total in totals)
            return [(flow, flow.wanted()) for flow in first[: max(1, fit)]]
        shares = []
        for index, flow in enumerate(sorted(first, key=lambda flow: flow.wanted())):
            share = min(flow.wanted(), left // (len(first) - index))
            shares.append((flow, share))
            left -= share
        return shares

    def _run(self, shares: Sequence[Share]) -> None:
        start = time.perf_counter()
        finished: list[Finished] = []
        windows = self._try(shares, finished)
        with self._changed:
            self._taken = []
            for flow, _ in shares:
                flow.queued = bool(flow.jobs())
                if flow.queued:
                    flow.since = time.monotonic()
                    self._flows.append(flow)
            queued = self._stats.queued - len(finished)
        self.finish(finished)
        if self._on_batch:
            self._on_batch(BatchReport(windows, len(shares), time.perf_counter() - start, queued))

    def _try(self, shares: Sequence[Share], finished: list[Finished]) -> int:
        """Run a batch, or if that fails each of its parts alone: the others do not suffer for one."""
        try:
            return self._run_together(shares, finished)
        except Exception as error:  # noqa: BLE001 (whatever it is, it belongs to those whose work it was)
            if len(shares) > 1:
                return sum(self._try([share], finished) for share in shares)
            ((flow, _),) = shares
            finished += [job.settle(error=error) for job in flow.drop(flow.jobs())]
            return 0

    def _run_together(self, shares: Sequence[Share], finished: list[Finished]) -> int:
        backend, work = self.engine.backend, [flow.take(share) for flow, share in shares]
        run = backend.run_windows if self.engine.config.task == "scene" else backend.run_many
        logits = run(list(itertools.chain.from_iterable(work)))
        rest = iter(logits)
        for (flow, _), own in zip(shares, work, strict=True):
            finished += flow.give(list(itertools.islice(rest, len(own))))
        return sum(len(rows) for rows in logits)

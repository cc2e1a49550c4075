"""A stream at a scheduler: its windows share batches with those of everybody else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.feature_files import FeatureSource
from megaseg.engine.live.admission import Admission
from megaseg.engine.live.queue_entries import Finished, Job, QueueEntry, StreamEntry, waited
from megaseg.engine.live.segmenter import Segmenter
from megaseg.engine.live.snapshot import write_snapshot
from megaseg.engine.live.state import Event, StreamState
from megaseg.engine.live.stream import LiveActs, acts_of, segmentation_of, shots_of
from megaseg.engine.results.segmentation import Segmentation

Events = tuple[Event, ...]


class Queue(Protocol):
    """What a stream needs of its scheduler."""

    admission: Admission

    def enqueue(self, entry: QueueEntry) -> None:
        """Have an entry's jobs run."""
        ...

    def finish(self, finished: Sequence[Finished]) -> None:
        """Count ends, and resolve their futures."""
        ...


class ScheduledStream:
    """``Stream`` with pushes that block, can be awaited, or give futures. Made by ``Scheduler.stream``.

    Shots are the stream's as soon as a push is accepted. Decisions of a push that was cancelled or too late come with
    the next one, so that none is lost and each comes once.
    """

    def __init__(self, scheduler: Queue, state: StreamState, acts: Segmenter | None = None) -> None:
        self._scheduler, self._entry, self._acts = scheduler, StreamEntry(state), acts

    def submit(
        self,
        features: FeatureSource,
        times: NDArray[np.int64] | None = None,
        *,
        timeout: float | None = None,
        wait: bool = False,
    ) -> Future[Events]:
        """``Stream.push`` as a future, its callbacks called in the scheduler's thread.

        Args:
            timeout: seconds from now until the events are of no use.
            wait: wait for room in a full queue, within ``timeout``.

        Raises:
            OverloadedError: the queue is full, at once; the stream is as before.
            DeadlineExceeded: no room within ``timeout``; from the future where events come too late.
            FeatureError: features or times that do not fit; the stream is as before.
        """
        job = Job.within(timeout)
        self._scheduler.admission.admit(job, partial(self._push, features, times), wait=wait)
        return job.future

    def push(
        self,
        features: FeatureSource,
        times: NDArray[np.int64] | None = None,
        *,
        timeout: float | None = None,
        wait: bool = False,
    ) -> Events:
        """``submit``, and wait for the events; interrupted (Ctrl-C), the push is cancelled."""
        events: Events = waited(self.submit(features, times, timeout=timeout, wait=wait))
        return events

    async def push_async(
        self,
        features: FeatureSource,
        times: NDArray[np.int64] | None = None,
        *,
        timeout: float | None = None,
        wait: bool = False,
    ) -> Events:
        """``submit``, and await the events."""
        job = Job.within(timeout)
        await self._scheduler.admission.admit_async(job, partial(self._push, features, times), wait=wait)
        events: Events = await asyncio.wrap_future(job.future)
        return events

    def submit_close(self, *, timeout: float | None = None) -> Future[Events]:
        """``Stream.close`` as a future; has a place in the queue however full it is."""
        job = Job.within(timeout)
        self._scheduler.admission.admit(job, self._push_end, always=True)
        return job.future

    def close(self, *, timeout: float | None = None) -> Events:
        """``submit_close``, and wait for the last events."""
        events: Events = waited(self.submit_close(timeout=timeout))
        return events

    async def close_async(self, *, timeout: float | None = None) -> Events:
        """``submit_close``, and await the last events."""
        return await asyncio.wrap_future(self.submit_close(timeout=timeout))

    def cancel(self) -> None:
        """Give the stream up: pushes under way are cancelled, and no more are taken."""
        with self._lock:
            self._entry.state.closed = True
        for job in self._entry.jobs():
            job.future.cancel()

    def _push(self, features: FeatureSource, times: NDArray[np.int64] | None, job: Job) -> None:
        shots = shots_of(features, times, self._entry.state)
        with self._lock:
            self._entry.state.append(shots)
        self._add(job)

    def _push_end(self, job: Job) -> None:
        with self._lock:
            self._entry.state.closed = True
        self._add(job)

    def _add(self, job: Job) -> None:
        with self._lock:
            finished = self._entry.add(job)
        self._scheduler.finish(finished)
        if not job.future.done():
            self._scheduler.enqueue(self._entry)

    @property
    def _lock(self) -> threading.Lock:
        """The entry's lock, which a forked child may have inherited as held."""
        self._scheduler.admission.require_own_process()
        return self._entry.lock

    @property
    def num_shots(self) -> int:
        """Shots that have come."""
        return self._entry.state.num_shots

    @property
    def num_decided(self) -> int:
        """Shots whose decision is final."""
        return self._entry.state.decided

    def segmentation(self) -> Segmentation:
        """As ``Stream.segmentation``."""
        with self._lock:
            return segmentation_of(self._entry.state)

    def acts(self) -> LiveActs:
        """As ``Stream.acts``; the act model runs in the caller's thread."""
        with self._lock:
            ask = acts_of(self._entry.state, self._acts)
        return ask()  # without the lock: the scheduler goes on

    def snapshot(self) -> bytes:
        """As ``Stream.snapshot``; events of pushes that are under way come again from the resumed stream."""
        with self._lock:
            return write_snapshot(self._entry.state)

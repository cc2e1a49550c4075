"""A stream at a scheduler: its windows share batches with those of everybody else."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.features import FeatureSource
from megaseg.engine.flows import Job, StreamFlow
from megaseg.engine.progress import Event, Progress
from megaseg.engine.segmentation import Segmentation
from megaseg.engine.snapshot import write_snapshot
from megaseg.engine.streaming import LiveActs, acts_of, segmentation_of, shots_of

if TYPE_CHECKING:
    from megaseg.engine.batching import Scheduler

Events = tuple[Event, ...]


class ScheduledStream:
    """``Stream`` with pushes that block, can be awaited, or give futures. Made by ``Scheduler.stream``.

    Shots are the stream's as soon as a push is accepted. Decisions of a push that was cancelled or too late come with
    the next one, so that none is lost and each comes once.
    """

    def __init__(self, scheduler: Scheduler, progress: Progress) -> None:
        self._scheduler, self._flow = scheduler, StreamFlow(progress)

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
        self._scheduler.reserve(job, wait)
        return self._push(features, times, job)

    def push(
        self,
        features: FeatureSource,
        times: NDArray[np.int64] | None = None,
        *,
        timeout: float | None = None,
        wait: bool = False,
    ) -> Events:
        """``submit``, and wait for the events."""
        return self.submit(features, times, timeout=timeout, wait=wait).result()

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
        await self._scheduler.reserve_async(job, wait)
        return await asyncio.wrap_future(self._push(features, times, job))

    def submit_close(self, *, timeout: float | None = None) -> Future[Events]:
        """``Stream.close`` as a future; has a place in the queue however full it is."""
        job = Job.within(timeout)
        self._scheduler.reserve(job, wait=False, always=True)
        with self._flow.lock:
            self._flow.progress.closed = True
        return self._add(job)

    def close(self, *, timeout: float | None = None) -> Events:
        """``submit_close``, and wait for the last events."""
        return self.submit_close(timeout=timeout).result()

    async def close_async(self, *, timeout: float | None = None) -> Events:
        """``submit_close``, and await the last events."""
        return await asyncio.wrap_future(self.submit_close(timeout=timeout))

    def cancel(self) -> None:
        """Give the stream up: pushes under way are cancelled, and no more are taken."""
        with self._flow.lock:
            self._flow.progress.closed = True
        for job in self._flow.jobs():
            job.future.cancel()

    def _push(self, features: FeatureSource, times: NDArray[np.int64] | None, job: Job) -> Future[Events]:
        try:
            shots = shots_of(features, times, self._flow.progress)
            with self._flow.lock:
                self._flow.progress.append(shots)
        except BaseException:
            self._scheduler.give_back()
            raise
        return self._add(job)

    def _add(self, job: Job) -> Future[Events]:
        with self._flow.lock:
            finished = self._flow.add(job)
        self._scheduler.finish(finished)
        if not job.future.done():
            self._scheduler.enqueue(self._flow)
        return job.future

    @property
    def num_shots(self) -> int:
        """Shots that have come."""
        return self._flow.progress.num_shots

    @property
    def num_decided(self) -> int:
        """Shots whose decision is final."""
        return self._flow.progress.decided

    def segmentation(self) -> Segmentation:
        """As ``Stream.segmentation``."""
        with self._flow.lock:
            return segmentation_of(self._flow.progress)

    def acts(self) -> LiveActs:
        """As ``Stream.acts``; the act model runs in the caller's thread."""
        with self._flow.lock:
            ask = acts_of(self._flow.progress)
        return ask()  # without the lock: the scheduler goes on

    def snapshot(self) -> bytes:
        """As ``Stream.snapshot``; events of pushes that are under way come again from the resumed stream."""
        with self._flow.lock:
            return write_snapshot(self._flow.progress)

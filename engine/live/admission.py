"""Admission to a scheduler: places for a bounded number of jobs, and the callers in line for one."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout  # its own class until Python 3.11
from dataclasses import dataclass
from typing import NoReturn

from megaseg.engine.live.queue_entries import Job
from megaseg.errors import DeadlineExceeded, OverloadedError, UnsupportedError


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


class Admission:
    """Places for ``limit`` jobs that are accepted and not finished.

    A job holds a place, stands in line for one, or neither: ``leave`` is every job's way out. Each change of state is
    one operation on a set or a dictionary, so that a caller interrupted anywhere can still leave. Nothing takes the
    lock in a forked child, which may have inherited it as held.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.RLock()  # a signal handler may come in between
        self._jobs: set[Job] = set()
        self._line: dict[Job, Future[None]] = {}  # in order; each future ends with a place or with ``close``
        self._endings: Counter[str] = Counter()
        self._refused = 0
        self._closed = ""  # why
        self._process = os.getpid()

    @property
    def forked(self) -> bool:
        """Whether this process is a child of the scheduler's."""
        return os.getpid() != self._process

    def require_own_process(self) -> None:
        """Raises UnsupportedError in a forked child."""
        if self.forked:
            raise UnsupportedError(
                "scheduler used in a forked process: its thread stayed with the parent; make its own"
            )

    def stats(self) -> SchedulerStats:
        """``Scheduler.stats``."""
        self.require_own_process()
        with self._lock:
            ended, queued = dict(self._endings), len(self._jobs)
            return SchedulerStats(sum(ended.values()) + queued, refused=self._refused, queued=queued, **ended)

    def jobs(self) -> list[Job]:
        """Jobs that are accepted and not finished."""
        with self._lock:
            return list(self._jobs)

    def require_room(self) -> None:
        """``Scheduler.require_room``."""
        self.require_own_process()
        with self._lock:
            self._require_open()
            if len(self._jobs) >= self._limit:
                self._refuse()

    def admit(self, job: Job, enter: Callable[[Job], None], *, wait: bool = False, always: bool = False) -> None:
        """Take a place for a job and have it ``enter``; where either fails, or is interrupted, the place is free again.

        Args:
            wait: stand in line for a place until the job's deadline.
            always: take one whether there is one or not.

        Raises:
            OverloadedError: all places are taken, and the caller does not wait.
            DeadlineExceeded: they stay taken until the job's deadline.
            UnsupportedError: closed, also while in line; or a forked process. Otherwise as ``enter``.
        """
        try:
            if (room := self._place(job, wait, always)) is not None:
                try:
                    room.result(job.left)
                except FutureTimeout as error:
                    raise self._too_late() from error
            enter(job)
        except BaseException:
            self._withdraw(job)
            raise

    async def admit_async(self, job: Job, enter: Callable[[Job], None], *, wait: bool) -> None:
        """``admit`` without blocking the event loop; a cancelled task leaves the line."""
        try:
            if (room := self._place(job, wait)) is not None:
                waiter = asyncio.wrap_future(room)
                await asyncio.wait([waiter], timeout=job.left)
                if not waiter.done():
                    raise self._too_late()
                waiter.result()
            enter(job)
        except BaseException:
            self._withdraw(job)
            raise

    def leave(self, job: Job, ending: str = "") -> bool:
        """Free a job's place, counted by its ``ending``, or as never accepted; False where it has none."""
        with self._lock:
            self._line.pop(job, None)
            if placed := job in self._jobs:
                self._jobs.remove(job)
                if ending:
                    self._endings[ending] += 1
            self._hand_on()
            return placed

    def close(self, why: str) -> None:
        """Refuse all jobs from now on, those in line too."""
        with self._lock:
            self._closed = self._closed or why
            for room in self._line.values():
                room.set_exception(self.closed())
            self._line.clear()

    def closed(self) -> UnsupportedError:
        """What is raised from ``close`` on."""
        return UnsupportedError(f"scheduler: closed, {self._closed}")

    def _place(self, job: Job, wait: bool, always: bool = False) -> Future[None] | None:
        """None with a place taken, or what ends once there is one."""
        self.require_own_process()
        with self._lock:
            self._require_open()
            if always or len(self._jobs) < self._limit:
                self._jobs.add(job)
                return None
            if not wait:
                self._refuse()
            return self._line.setdefault(job, Future())

    def _hand_on(self) -> None:
        """Give free places to the first in line; one who was interrupted in doing so has it done by ``leave``."""
        while self._line:
            first, room = next(iter(self._line.items()))
            if len(self._jobs) >= self._limit and first not in self._jobs:
                return
            self._jobs.add(first)
            if not room.done():
                room.set_result(None)
            del self._line[first]

    def _withdraw(self, job: Job) -> None:
        if not self.forked:
            self.leave(job)
            job.future.cancel()  # it may have entered before the interrupt

    def _require_open(self) -> None:
        if self._closed:
            raise self.closed()

    def _refuse(self) -> NoReturn:
        self._refused += 1
        raise OverloadedError(f"queue: {self._limit} requests are waiting, as many as max_queue allows; try later")

    def _too_late(self) -> DeadlineExceeded:
        with self._lock:
            self._refused += 1
        return DeadlineExceeded("queue: no room before the deadline")

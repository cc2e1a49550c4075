"""Features of sources for the service: one source at a time, in one thread of low priority."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future

from megaseg.engine.inputs.features import Features
from megaseg.errors import DeadlineExceeded, OverloadedError
from megaseg.features.extractor import Extractor
from megaseg.pipelines.pipeline import Extractors
from megaseg.serving.offload import low_priority_thread

MOST = 64  # sources that are extracted or wait for it


class Deadline:
    """Seconds that a request may still take; None is no end."""

    def __init__(self, timeout: float | None) -> None:
        self._end = None if timeout is None else time.monotonic() + timeout

    def left(self) -> float | None:
        """Seconds left, more than 0.

        Raises:
            DeadlineExceeded: none are.
        """
        if self._end is None:
            return None
        left = self._end - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded("request: its source was not read before its deadline")
        return left


class Extraction:
    """The extractors of a service, whose models one thread runs."""

    def __init__(self, extractors: Iterable[Extractor] = ()) -> None:
        self.extractors = Extractors(extractors)
        self._calls: set[Future[Features]] = set()  # not finished
        self._thread = low_priority_thread()

    async def run(self, work: Callable[[int], Features], model: int, *, timeout: float | None) -> Features:
        """Call ``work(model)`` when its turn has come; cancelled before that, it is not called at all.

        Raises:
            OverloadedError: too many sources wait. DeadlineExceeded: it takes longer than ``timeout`` seconds.
        """
        if len(self._calls) >= MOST:
            raise OverloadedError(f"sources: expected up to {MOST} at a time, got one more; try again later")
        call = self._thread.submit(work, model)
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(call), timeout)
        except asyncio.TimeoutError as error:
            raise DeadlineExceeded("request: its source was not read before its deadline") from error

    def close(self) -> None:
        """End the thread when its work is done."""
        self._thread.shutdown(wait=False)

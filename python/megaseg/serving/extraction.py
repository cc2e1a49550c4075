"""Features of sources for the service: one film and one other source at a time, in threads of low priority."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, TypeVar

from megaseg.errors import DeadlineExceeded, OverloadedError
from megaseg.features.extractor import Extractor
from megaseg.features.video.extractor import VideoExtractor
from megaseg.pipelines.pipeline import Extractors
from megaseg.serving.offload import low_priority_thread

T = TypeVar("T")
MOST = 64  # films that are extracted or wait for it, and as many other sources


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
    """The extractors of a service. One thread is for films, which take minutes, and one for all else."""

    def __init__(self, extractors: Iterable[Extractor] = ()) -> None:
        self.extractors = Extractors([VideoExtractor(advance=self._go_on), *extractors])
        self._calls: dict[bool, set[Future[Any]]] = {
            False: set(),
            True: set(),
        }  # not finished; by whether of a film
        self._thread, self._film_thread = low_priority_thread(), low_priority_thread()
        self._unwanted = threading.Event()  # of the film that is being decoded

    async def run(self, work: Callable[[int], T], model: int, *, timeout: float | None, film: bool = False) -> T:
        """Call ``work(model)`` when its turn has come; cancelled before that, it is not called at all.

        The decoding of a film ends when its request does.

        Raises:
            OverloadedError: too many sources wait. DeadlineExceeded: it takes longer than ``timeout`` seconds.
        """
        calls = self._calls[film]
        if len(calls) >= MOST:
            kind = "films" if film else "sources"
            raise OverloadedError(f"{kind}: expected up to {MOST} at a time, got one more; try again later")
        unwanted = threading.Event()
        thread = self._film_thread if film else self._thread
        call = thread.submit(self._called, work, model, unwanted if film else None)
        calls.add(call)
        call.add_done_callback(calls.discard)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(call), timeout)
        except asyncio.TimeoutError as error:
            raise DeadlineExceeded("request: its source was not read before its deadline") from error
        finally:
            unwanted.set()

    def _called(self, work: Callable[[int], T], model: int, unwanted: threading.Event | None) -> T:
        if unwanted is not None:
            self._unwanted = unwanted
        return work(model)

    def _go_on(self, stage: str, done: float, whole: float) -> None:
        """Raises DeadlineExceeded where nobody waits for the film any more: it ends the decoder's process."""
        if self._unwanted.is_set():
            raise DeadlineExceeded("request: nobody waits for the film any more")

    def close(self) -> None:
        """End the threads when their work is done."""
        for thread in (self._thread, self._film_thread):
            thread.shutdown(wait=False)

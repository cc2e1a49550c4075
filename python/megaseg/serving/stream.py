"""One bidirectional stream of inference requests: many sequences on it, each in order, all at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import grpc

from megaseg.serving import protocol
from megaseg.serving.errors import RequestError
from megaseg.serving.logs import log
from megaseg.serving.status import INTERNAL, message_of, status_of

MOST = 1024  # requests of one stream in flight

_Request = protocol.message("ModelInferRequest")
_Answer = protocol.message("ModelStreamInferResponse")


class Stream:
    """A stream of ``ModelInfer`` requests and their answers.

    Requests of a sequence (``sequence_id``) run one after the other, all others at once; answers come in the order of
    the requests, within each sequence and among requests of none. A request that fails is answered by its error, with
    its id, and ends nothing. While ``MOST`` requests or ``max_bytes`` of them are not answered, no more are read: that
    holds back a client that sends faster than it is served, or does not read.
    """

    def __init__(
        self,
        infer: Callable[[Any], Awaitable[Any]],
        read: Callable[[], Awaitable[Any]],
        write: Callable[[bytes], Awaitable[None]],
        max_bytes: int,
    ) -> None:
        self._infer, self._read, self._write, self._max_bytes = infer, read, write, max_bytes
        self._reader: asyncio.Task[None] | None = None
        self._answers: set[asyncio.Task[None]] = set()  # in flight
        self._bytes = 0  # of their requests
        self._latest: dict[tuple[str, object], asyncio.Task[None]] = {}  # of each sequence
        self._answered = asyncio.Event()
        self._writing = asyncio.Lock()
        self._ended = False

    async def run(self) -> bool:
        """Answer requests until the client has no more (True) or ``stop`` (False); cancelled, it cancels them all."""
        self._reader = asyncio.create_task(self._accept_all())
        try:
            await asyncio.wait([self._reader])
            while self._answers:
                await asyncio.wait(self._answers)
        finally:
            self._ended = True
            for task in (self._reader, *self._answers):
                task.cancel()
        if self._reader.cancelled():
            return False
        self._reader.result()
        return True

    def stop(self) -> None:
        """Read no more requests."""
        if self._reader is not None:
            self._reader.cancel()

    async def _accept_all(self) -> None:
        while (data := await self._read()) is not grpc.aio.EOF:
            self._accept(data)
            while len(self._answers) >= MOST or self._bytes >= self._max_bytes:
                self._answered.clear()
                await self._answered.wait()

    def _accept(self, data: bytes) -> None:
        try:
            request = protocol.parsed(_Request, data)
        except RequestError as error:
            request, infer = _Request(), partial(_failed, error)
        else:
            infer = partial(self._infer, request)
        sequence = protocol.sequence_id(request)
        key = (request.model_name if sequence else "", sequence)
        task = asyncio.create_task(self._answer(request.id, infer, self._latest.get(key), ordered=bool(sequence)))
        self._latest[key] = task
        self._answers.add(task)
        self._bytes += len(data)
        task.add_done_callback(partial(self._finished, key, len(data)))

    def _finished(self, key: tuple[str, object], size: int, task: asyncio.Task[None]) -> None:
        if self._latest.get(key) is task:
            del self._latest[key]
        self._answers.discard(task)
        self._bytes -= size
        self._answered.set()
        if not task.cancelled() and (error := task.exception()) is not None and not self._ended:
            log("answer not delivered", logging.WARNING, error=str(error))

    async def _answer(
        self, id_: str, infer: Callable[[], Awaitable[Any]], before: asyncio.Task[None] | None, *, ordered: bool
    ) -> None:
        """Infer and write one answer, after the one ``before``; ``ordered`` infers after it, too."""
        if ordered and before is not None:
            await asyncio.wait([before])
        try:
            answer = _Answer(infer_response=await infer())
        except asyncio.CancelledError as error:
            if self._ended:
                raise
            answer = _failure(id_, error)  # not the client's doing: its sequence was dropped
        except Exception as error:  # noqa: BLE001 (a client waits)
            answer = _failure(id_, error)
        if not ordered and before is not None:
            await asyncio.wait([before])
        async with self._writing:
            await self._write(answer.SerializeToString())


async def _failed(error: RequestError) -> Any:
    raise error


def _failure(id_: str, error: BaseException) -> Any:
    """An answer that tells the status, which a stream has no other place for, and the message of an error."""
    status = status_of(error)
    if status is INTERNAL:
        log("request of a stream failed", logging.ERROR, exception=error)
    return _Answer(error_message=f"{status.grpc}: {message_of(error)}", infer_response={"id": id_})

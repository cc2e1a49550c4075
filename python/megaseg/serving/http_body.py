"""Request bodies within their limit, and clients that go away."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from fastapi import Request

from megaseg.errors import OverloadedError, ResourceLimitError
from megaseg.serving.errors import ClientGone, RequestError
from megaseg.serving.offload import off_loop

_Result = TypeVar("_Result")
_BODIES = 4


class Room:
    """A limit on all bodies that are being read or worked on: the bytes of ``_BODIES`` bodies of the largest size."""

    def __init__(self, limit: int) -> None:
        self._limit, self._taken = limit, 0

    @contextmanager
    def taken(self, request: Request) -> Iterator[None]:
        """Take room for a request's body: its declared length, or the limit where none is declared.

        Raises:
            OverloadedError: there is none.
        """
        declared = request.headers.get("content-length", "")
        size = min(int(declared[:20]), self._limit) if declared.isdecimal() else self._limit
        if self._taken + size > _BODIES * self._limit:
            raise OverloadedError(f"body: {self._taken} bytes of requests are being worked on, try again later")
        self._taken += size
        try:
            yield
        finally:
            self._taken -= size


async def read_body(request: Request, limit: int, patience: float) -> bytes:
    """A request's body, unpacked where it came as ``gzip`` or ``deflate``.

    ``patience`` is how many seconds each part may take. A declared length beyond the limit is refused before any of it
    is read, a chunked body when it gets there.

    Raises:
        ResourceLimitError: more than ``limit`` bytes, as it came or unpacked.
        RequestError: another encoding, or a body that is not of its encoding. ClientGone: before its end.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > limit:
        raise ResourceLimitError(f"body: expected up to {limit} bytes, got {declared[:20]}")
    chunks: list[bytes] = []
    size = 0
    while True:
        try:
            message = await asyncio.wait_for(request.receive(), patience)
        except asyncio.TimeoutError as error:
            raise RequestError(f"body: expected more of it within {patience:g} s") from error
        if message["type"] == "http.disconnect":
            raise ClientGone("the client left before its body was there")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > limit:
            raise ResourceLimitError(f"body: expected up to {limit} bytes, got more")
        if not message.get("more_body", False):
            break
    body = b"".join(chunks)
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding == "identity":
        return body
    if encoding not in ("gzip", "deflate"):
        raise RequestError(f"Content-Encoding: expected identity, gzip or deflate, got {encoding!r:.40}")
    return await off_loop(size, _unpacked, body, limit)


def _unpacked(body: bytes, limit: int) -> bytes:
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # gzip or zlib, as its own header says
    try:
        plain = unpacker.decompress(body, limit + 1)
    except zlib.error as error:
        raise RequestError(f"body: expected gzip or deflate, got: {error}") from error
    if len(plain) > limit:
        raise ResourceLimitError(f"body: expected up to {limit} bytes, it unpacks to more")
    if not unpacker.eof:
        raise RequestError("body: expected gzip or deflate, it ends half-way")
    return plain


async def unless_gone(request: Request, work: Coroutine[Any, Any, _Result]) -> _Result:
    """Await work whose request has been read; a client that disconnects cancels it.

    Raises:
        ClientGone: it did.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone("the client left before its answer")
        return await task
    finally:
        gone.cancel()
        task.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

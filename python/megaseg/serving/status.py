"""One table: how each error is answered over HTTP and gRPC, and what the metrics call it."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from megaseg.errors import (
    CheckpointError,
    DeadlineExceeded,
    FeatureError,
    MegasegError,
    OverloadedError,
    ResourceLimitError,
    SearchIndexError,
    UnsupportedError,
)
from megaseg.serving.errors import (
    ClientGone,
    ModelNotFound,
    ModelNotReady,
    RequestError,
    SequenceError,
    Unauthorized,
)


class Status(NamedTuple):
    """HTTP status code, name of the gRPC status code, and the outcome in metrics and logs."""

    http: int
    grpc: str
    outcome: str


OK = Status(200, "OK", "ok")
CANCELLED = Status(499, "CANCELLED", "cancelled")  # the client has gone: nobody reads the code
INTERNAL = Status(500, "INTERNAL", "error")
STATUSES: dict[type[BaseException], Status] = {
    FeatureError: Status(400, "INVALID_ARGUMENT", "bad_request"),
    RequestError: Status(400, "INVALID_ARGUMENT", "bad_request"),
    Unauthorized: Status(401, "UNAUTHENTICATED", "unauthorized"),
    ModelNotFound: Status(404, "NOT_FOUND", "not_found"),
    SequenceError: Status(409, "FAILED_PRECONDITION", "sequence"),
    ResourceLimitError: Status(413, "RESOURCE_EXHAUSTED", "too_large"),
    OverloadedError: Status(429, "RESOURCE_EXHAUSTED", "refused"),
    UnsupportedError: Status(501, "UNIMPLEMENTED", "unsupported"),
    ModelNotReady: Status(503, "UNAVAILABLE", "not_ready"),
    DeadlineExceeded: Status(504, "DEADLINE_EXCEEDED", "expired"),
    CheckpointError: INTERNAL,
    SearchIndexError: INTERNAL,
    ClientGone: CANCELLED,
    asyncio.CancelledError: CANCELLED,
}


def status_of(error: BaseException) -> Status:
    """The row of an error's class or of its nearest base; ``INTERNAL`` for one that nobody expected."""
    return next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), INTERNAL)


def message_of(error: BaseException) -> str:
    """What a client is told: a ``MegasegError``'s own words, and nothing about an error that nobody expected."""
    return str(error) if isinstance(error, MegasegError) else "internal error; the server's log has it"

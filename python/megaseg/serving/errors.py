"""Errors that only a service has. ``serving.status`` says how each is answered."""

from __future__ import annotations

from megaseg.errors import MegasegError


class ModelNotFound(MegasegError):
    """A model name or version that the service was not started with."""


class ModelNotReady(MegasegError):
    """A known model that is not loaded, or a service that is shutting down."""


class RequestError(MegasegError):
    """A malformed request: its JSON, a tensor's name, type or shape, or a parameter."""


class SequenceError(MegasegError):
    """A push to a sequence that was never started, has ended, or was dropped."""


class Unauthorized(MegasegError):
    """A request without the service's bearer token."""


class ClientGone(MegasegError):
    """The client closed its connection before it had its answer."""

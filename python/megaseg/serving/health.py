"""``grpc.health.v1``: whether the service takes requests, for probes and proxies that ask in gRPC's own way."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import grpc

from megaseg.serving.inference import ENDING, Inference
from megaseg.serving.messages import Messages

SERVICE = "grpc.health.v1.Health"
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
_MOST = 1000  # watchers, who need no token
_MESSAGES = Messages("grpc.health.v1", {"HealthCheckRequest": "string service", "HealthCheckResponse": "int32 status"})
_Request, _Response = (_MESSAGES.message(f"HealthCheck{name}") for name in ("Request", "Response"))


class Health:
    """The calls Check and Watch. All of ``services`` have the service's own status; an empty name is one of them."""

    def __init__(self, inference: Inference, services: Collection[str]) -> None:
        self._inference, self._services = inference, {"", *services}
        self._watchers = 0

    def handler(self) -> Any:
        """What a ``grpc.aio`` server takes."""
        codecs = {"request_deserializer": _Request.FromString, "response_serializer": _Response.SerializeToString}
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Check": grpc.unary_unary_rpc_method_handler(self.check, **codecs),
                "Watch": grpc.unary_stream_rpc_method_handler(self.watch, **codecs),
            },
        )

    async def check(self, request: Any, context: Any) -> Any:
        """The status of a service; NOT_FOUND for an unknown one."""
        status = self._status(request.service)
        if status == SERVICE_UNKNOWN:
            known = ", ".join(repr(name) for name in sorted(self._services))
            await context.abort(grpc.StatusCode.NOT_FOUND, f"service: expected {known}, got {request.service!r:.80}")
        return _Response(status=status)

    async def watch(self, request: Any, context: Any) -> None:
        """The status of a service now and when it changes, which it does once: when the service shuts down."""
        if self._watchers >= _MOST:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"watchers: expected up to {_MOST}, got one more")
        self._watchers += 1
        try:
            before = self._status(request.service)
            await context.write(_Response(status=before))
            await self._inference.ending.wait()
            if (status := self._status(request.service)) != before:
                await context.write(_Response(status=status))
        finally:
            self._watchers -= 1
        await context.abort(grpc.StatusCode.UNAVAILABLE, ENDING)

    def _status(self, service: str) -> int:
        if service not in self._services:
            return SERVICE_UNKNOWN
        return SERVING if self._inference.ready() else NOT_SERVING

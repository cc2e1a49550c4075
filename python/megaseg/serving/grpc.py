"""The Open Inference Protocol over gRPC: calls, the bearer token, and the server."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import grpc

from megaseg._version import __version__
from megaseg.serving import health, protocol
from megaseg.serving.errors import ModelNotReady, RequestError, Unauthorized
from megaseg.serving.health import Health
from megaseg.serving.inference import ENDING, Inference, Request
from megaseg.serving.logs import log
from megaseg.serving.models import PLATFORM, VERSION, Models, Tensor
from megaseg.serving.security import accepts
from megaseg.serving.status import INTERNAL, STATUSES, Status, message_of, status_of
from megaseg.serving.stream import Stream

Call = Callable[[Any, Any], Awaitable[Any]]
_OPEN = {  # without a token, for probes
    *(f"/{protocol.SERVICE}/{name}" for name in ("ServerLive", "ServerReady")),
    *(f"/{health.SERVICE}/{name}" for name in ("Check", "Watch")),
}
_STREAM = "ModelStreamInfer"
_PAUSE = 0.1  # seconds for messages in transit between the server and its clients to arrive
# Of NVIDIA's inference server.
EXTENSIONS = ("model_configuration", "model_repository", "parameters", "sequence", "statistics")
_TYPES = {"TYPE_BOOL": 1, "TYPE_INT32": 8, "TYPE_INT64": 9, "TYPE_FP32": 11}  # numbers of its enum DataType


class Calls:
    """Calls in flight. A call that the server's end cuts off fails as UNAVAILABLE; CANCELLED is the client's own."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any] | None] = set()
        self._cut = False
        self.answering = asyncio.Event()  # cleared, answers are held back
        self.answering.set()

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Count the current task's call. Raises ModelNotReady where ``cut_off`` cancels it."""
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            yield
        except asyncio.CancelledError as error:
            if self._cut:
                raise ModelNotReady(ENDING) from error
            raise
        finally:
            self._tasks.discard(task)

    def cut_off(self) -> None:
        """Cancel the calls that are still under way."""
        self._cut = True
        for task in self._tasks:
            if task is not None:
                task.cancel()


class Service:
    """The protocol's calls: each a method, in snake case, from a message to a message."""

    def __init__(self, inference: Inference, models: Models, max_bytes: int) -> None:
        self._inference, self._models, self._max_bytes = inference, models, max_bytes
        self._streams: set[Stream] = set()
        self.calls = Calls()

    def handler(self) -> Any:
        """What a ``grpc.aio`` server takes."""
        handlers = {}
        for name, (asked, _) in protocol.METHODS.items():
            call = getattr(self, re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower())
            handlers[name] = (
                grpc.stream_stream_rpc_method_handler(call)
                if name == _STREAM
                else grpc.unary_unary_rpc_method_handler(_answered(call, protocol.message(asked), self.calls))
            )
        return grpc.method_handlers_generic_handler(protocol.SERVICE, handlers)

    async def server_live(self, request: Any, context: Any) -> Any:
        return protocol.message("ServerLiveResponse")(live=True)

    async def server_ready(self, request: Any, context: Any) -> Any:
        return protocol.message("ServerReadyResponse")(ready=self._inference.ready())

    async def model_ready(self, request: Any, context: Any) -> Any:
        ready = self._models.ready(request.name, request.version)
        return protocol.message("ModelReadyResponse")(ready=ready and self._inference.ready())

    async def server_metadata(self, request: Any, context: Any) -> Any:
        made = protocol.message("ServerMetadataResponse")
        return made(name="megaseg", version=__version__, extensions=EXTENSIONS)

    async def model_metadata(self, request: Any, context: Any) -> Any:
        model = self._models.get(request.name, request.version)
        made = protocol.message("ModelMetadataResponse")
        inputs, outputs = _described(model.inputs), _described(model.outputs)
        return made(name=model.name, versions=[VERSION], platform=PLATFORM, inputs=inputs, outputs=outputs)

    async def model_config(self, request: Any, context: Any) -> Any:
        config = self._models.get(request.name, request.version).configuration()
        for tensor in (*config["input"], *config["output"]):
            tensor["data_type"] = _TYPES[tensor["data_type"]]
        return protocol.message("ModelConfigResponse")(config=config)

    async def model_statistics(self, request: Any, context: Any) -> Any:
        return protocol.message("ModelStatisticsResponse")(
            model_stats=self._inference.statistics(request.name, request.version)
        )

    async def model_infer(self, request: Any, context: Any) -> Any:
        return await self._infer(request, context.time_remaining())

    async def _infer(self, message: Any, seconds: float | None = None) -> Any:
        known = message.model_name if message.model_name in self._models.names() else ""
        with self._inference.metrics.failing("grpc", known):
            request = Request(
                message.model_name,
                protocol.inputs(message),
                protocol.outputs(message),
                _until(seconds, protocol.parameters(message.parameters)),
                message.id,
                message.model_version,
            )
        answer = await self._inference.infer(request)
        return protocol.response(answer.model, VERSION, answer.id, answer.outputs, answer.parameters)

    async def model_stream_infer(self, requests: Any, context: Any) -> None:
        stream = Stream(self._infer, context.read, context.write, self._max_bytes)
        self._streams.add(stream)
        try:
            with self.calls.under_way():
                whole = await stream.run()
        except ModelNotReady:
            whole = False
        finally:
            self._streams.discard(stream)
        await self.calls.answering.wait()
        if not whole:
            await _abort(context, STATUSES[ModelNotReady], ENDING)

    def end_streams(self) -> None:
        """Read no more requests from any stream: each stream ends when the requests already read are answered."""
        for stream in self._streams:
            stream.stop()

    async def repository_index(self, request: Any, context: Any) -> Any:
        _expect_repository(request)
        response = protocol.message("RepositoryIndexResponse")()
        for entry in self._models.index(ready_only=request.ready):
            response.models.add(**entry._asdict())
        return response

    async def repository_model_load(self, request: Any, context: Any) -> Any:
        _expect_repository(request, *request.parameters)
        await self._inference.load(request.model_name)
        return protocol.message("RepositoryModelLoadResponse")()

    async def repository_model_unload(self, request: Any, context: Any) -> Any:
        _expect_repository(request, *(set(request.parameters) - {"unload_dependents"}))  # no model has any
        await self._inference.unload(request.model_name)
        return protocol.message("RepositoryModelUnloadResponse")()


def _answered(call: Call, kind: Any, calls: Calls) -> Call:
    """A call over bytes, with errors as the statuses of ``serving.status``."""

    async def answer(data: bytes, context: Any) -> bytes:
        failure: Exception | None = None
        try:
            with calls.under_way():
                response = bytes((await call(protocol.parsed(kind, data), context)).SerializeToString())
        except Exception as error:  # noqa: BLE001 (a client waits)
            failure = error
        await calls.answering.wait()
        if failure is None:
            return response
        status = status_of(failure)
        if status is INTERNAL:
            log("call failed", logging.ERROR, exception=failure)
        return await _abort(context, status, message_of(failure))

    return answer


async def _abort(context: Any, status: Status, message: str) -> NoReturn:
    # HTTP/2 servers and proxies take a few KiB of trailers.
    await context.abort(grpc.StatusCode[status.grpc], message[:2000])
    raise AssertionError("abort raises")


def _until(seconds: float | None, parameters: dict[str, Any]) -> dict[str, Any]:
    """Parameters with the nearer deadline: their own, or that of the call in ``seconds`` from now."""
    if seconds is None:
        return parameters
    left = max(1, int(seconds * 1e6))
    given = parameters.get("timeout", 0) or left  # 0 is none
    # A timeout of another type is refused where all parameters are checked.
    return {**parameters, "timeout": min(given, left) if type(given) is int else given}


def _described(tensors: Iterable[Tensor]) -> list[dict[str, Any]]:
    return [{"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape} for tensor in tensors]


def _expect_repository(request: Any, *parameters: str) -> None:
    """Raises RequestError for a repository or parameters that name files: a client never names a file."""
    if request.repository_name:
        raise RequestError(f"repository_name: expected none, got {request.repository_name!r:.80}")
    if parameters:
        raise RequestError(f"parameters: expected none (config, files), got {', '.join(sorted(parameters))!s:.80}")


class _Token(grpc.aio.ServerInterceptor):  # type: ignore[misc, unused-ignore]
    """Refuses calls without the token, before their messages are read."""

    def __init__(self, token: str | None) -> None:
        self._token = token

        async def refuse(requests: Any, context: Any) -> None:
            await _abort(context, STATUSES[Unauthorized], "authorization: expected the service's bearer token")

        self._refusal = grpc.stream_stream_rpc_method_handler(
            refuse
        )  # on the wire, a single message is a stream of one

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], call: Any) -> Any:
        header = next((value for key, value in call.invocation_metadata if key == "authorization"), None)
        if call.method in _OPEN or accepts(self._token, header):
            return await continuation(call)
        return self._refusal


class Server:
    """A running server on ``port``."""

    def __init__(self, server: Any, service: Service, port: int) -> None:
        self._server, self._service, self.port = server, service, port

    async def stop(self, grace: float) -> None:
        """Take no more calls and no more requests of open streams, and finish those taken, in ``grace`` seconds.

        From the moment when gRPC takes no more calls until its clients know, it answers new ones with CANCELLED.
        Clients that wait for an answer make no new calls, so that answers are held back meanwhile.
        """
        calls = self._service.calls
        self._service.end_streams()
        calls.answering.clear()
        await asyncio.sleep(_PAUSE)  # calls that are on their way are taken
        stopping = asyncio.ensure_future(self._server.stop(grace + 1))
        await asyncio.sleep(_PAUSE)  # clients are told
        calls.answering.set()
        await asyncio.wait([stopping], timeout=grace)
        calls.cut_off()
        await stopping


async def start(
    inference: Inference,
    models: Models,
    *,
    address: str,
    credentials: Any = None,
    token: str | None = None,
    max_bytes: int,
) -> Server:
    """Serve on an address (port 0 takes a free one), on the running event loop.

    Args:
        credentials: of ``grpc.ssl_server_credentials``; None is no TLS.
        token: the bearer token of the metadatum ``authorization``; None lets everyone in.
        max_bytes: of a message, and of those that one stream may have in flight.

    Raises:
        OSError: the address cannot be had.
    """
    service = Service(inference, models, max_bytes)
    options = [
        ("grpc.max_receive_message_length", max_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),  # a second server on the same port is an error
        ("grpc.keepalive_time_ms", 60_000),  # a client that has gone without a word
        ("grpc.keepalive_timeout_ms", 20_000),
    ]
    server = grpc.aio.server(interceptors=[_Token(token)], options=options)
    server.add_generic_rpc_handlers((service.handler(), Health(inference, [protocol.SERVICE]).handler()))
    try:
        port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"gRPC cannot listen on {address}: {error}") from error
    await server.start()
    return Server(server, service, port)

"""The service over HTTP: the Open Inference Protocol, feature files and screenplays to results, metrics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from megaseg._version import __version__
from megaseg.errors import MegasegError
from megaseg.media.video import Video
from megaseg.search.query import Part
from megaseg.serving import http_tensors, openapi
from megaseg.serving.errors import ModelNotReady, RequestError, Unauthorized
from megaseg.serving.http_body import Room, read_body, unless_gone
from megaseg.serving.http_source import read_source
from megaseg.serving.inference import ENDING, Inference
from megaseg.serving.logs import log
from megaseg.serving.models import PLATFORM, VERSION
from megaseg.serving.offload import off_loop
from megaseg.serving.searching import Asked
from megaseg.serving.security import accepts
from megaseg.serving.status import message_of, status_of

EXTENSIONS = (
    *("binary_tensor_data", "model_configuration", "model_repository", "parameters", "sequence", "statistics"),
)
_SMALL_BODY = 1 << 16  # bytes of a request that has no tensors
_HEADER = "Inference-Header-Content-Length"


class SegmentQuery(BaseModel, extra="forbid", allow_inf_nan=False):
    """Query of ``POST /v1/segment``; None takes the engine's default."""

    model: list[str] = Field([], max_length=8, description="A model, or one for each task; default: the only one.")
    threshold: float | None = Field(None, ge=0, le=1, description="Least P(boundary) of a boundary.")
    min_scene_length: int | None = Field(None, ge=1, description="Shortest scene, in shots.")
    num_scenes: int | None = Field(None, ge=1, description="Exactly this many scenes.")
    ordered: bool | None = Field(None, description="Turning points in increasing order.")
    timeout: float | None = Field(None, gt=0, description="Seconds until the answer is no longer wanted.")


class SimilarQuery(BaseModel, extra="forbid", allow_inf_nan=False):
    """Query of ``POST /v1/similar``: one of ``scene``, ``shots`` and ``time``, of a title or of the body's movie."""

    title: str | None = Field(None, description="A title of the index; the body is then empty.")
    scene: int | None = Field(None, ge=1, description="A scene, by its number from 1.")
    shots: str | None = Field(None, max_length=40, description="First and last shot, such as 100:120.")
    time: str | None = Field(None, max_length=80, description="A time such as 1:02:03, or two with - between.")
    count: int = Field(10, ge=1, le=1000, description="How many scenes.")
    same_film: bool = Field(False, description="Also scenes of the title itself.")
    model: str | None = Field(None, description="A model that finds the scenes of the body's movie.")
    timeout: float | None = Field(None, gt=0, description="Seconds until the answer is no longer wanted.")


class _Routes:
    """What each route does; an error goes to ``_answered``."""

    def __init__(self, inference: Inference, media_root: Path | None) -> None:
        self._inference, self._models, self._media_root = inference, inference.models, media_root
        self._limit = inference.limits.max_body_bytes
        self._patience = inference.limits.idle_seconds
        self._room = Room(self._limit)

    async def live(self, request: Request) -> Response:
        return JSONResponse({"live": True})

    async def ready(self, request: Request) -> Response:
        self._inference.expect_ready()
        return JSONResponse({"ready": True})

    async def server(self, request: Request) -> Response:
        return JSONResponse({"name": "megaseg", "version": __version__, "extensions": EXTENSIONS})

    async def model_ready(self, request: Request) -> Response:
        self._inference.expect_ready()
        return JSONResponse({"ready": True, "name": self._models.get(*_named(request)).name})

    async def model(self, request: Request) -> Response:
        model = self._models.get(*_named(request))
        inputs, outputs = (
            [{"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape} for tensor in tensors]
            for tensors in (model.inputs, model.outputs)
        )
        values = {"name": model.name, "versions": [VERSION], "platform": PLATFORM}
        return JSONResponse({**values, "inputs": inputs, "outputs": outputs})

    async def config(self, request: Request) -> Response:
        return JSONResponse(self._models.get(*_named(request)).configuration())

    async def statistics(self, request: Request) -> Response:
        return JSONResponse({"model_stats": self._inference.statistics(*_named(request))})

    async def infer(self, request: Request) -> Response:
        name, version = _named(request)
        with ExitStack() as held:
            with self._inference.metrics.failing("http", self._known(name)):
                content = await self._body(request, held)
                header = request.headers.get(_HEADER)
                asked, wanted = await off_loop(len(content), http_tensors.decode, content, header, name, version)
                del content
            response = await unless_gone(request, self._inference.infer(asked))
        size = sum(array.nbytes for array in response.outputs.values())
        answer, length = await off_loop(size, http_tensors.encode, response, wanted)
        if length is None:
            return Response(answer, media_type="application/json")
        return Response(answer, media_type="application/octet-stream", headers={_HEADER: str(length)})

    async def segment(self, request: Request, query: Annotated[SegmentQuery, Query()]) -> Response:
        names = query.model or list(self._models.names())
        with ExitStack() as held, self._inference.metrics.request("http", self._known(*names)) as seen:
            if len(names) > 1 and not query.model:
                raise RequestError(f"model: expected one or several of {', '.join(names)}, got none")
            self._inference.expect_room(*names)
            content = await self._body(request, held)
            # In a thread even where the body is small: it may unpack to a thousand times as much.
            kind = request.headers.get("content-type", "")
            source = await asyncio.to_thread(read_source, content, kind, self._limit, self._media_root)
            del content
            if isinstance(source, Video):
                held.close()  # its body has told all; decoding takes minutes
            else:
                seen["shots"] = source.num_shots
            decision = query.model_dump(exclude={"model"})
            result = await unless_gone(request, self._inference.segment(names, source, **decision))
            seen["shots"] = result.num_shots
            text = await off_loop(1000 * result.num_shots, result.to_json)  # some 300 to 1,000 bytes a shot
        return Response(text, media_type="application/json")

    async def similar(self, request: Request, query: Annotated[SimilarQuery, Query()]) -> Response:
        with ExitStack() as held, self._inference.metrics.request("http", "", route="similar"):
            self._inference.expect_index()
            part = Part.parse(query.scene, query.shots, query.time)
            content = await self._body(request, held)
            source = None
            if query.title is None:
                kind = request.headers.get("content-type", "")
                source = await asyncio.to_thread(read_source, content, kind, self._limit, self._media_root)
            elif content:
                raise RequestError("title: expected an empty body with it, got both")
            del content
            if isinstance(source, Video):
                held.close()
            given = query.model_dump(include={"title", "count", "same_film", "timeout"})
            answer = await unless_gone(
                request, self._inference.similar(Asked(part, source=source, **given), query.model)
            )
        return JSONResponse(answer)

    async def _body(self, request: Request, held: ExitStack) -> bytes:
        """The body of a request, whose room is kept until ``held`` ends.

        Raises:
            ModelNotReady: the service is shutting down; nothing is read.
        """
        self._inference.expect_ready()
        held.enter_context(self._room.taken(request))
        return await read_body(request, self._limit, self._patience)

    def _known(self, *names: str) -> str:
        """Models as a label of metrics: empty where a client has made one up."""
        return "+".join(names) if set(names) <= set(self._models.names()) else ""

    async def index(self, request: Request) -> Response:
        ready = http_tensors.parse_json(await read_body(request, _SMALL_BODY, self._patience)).get("ready", False)
        if not isinstance(ready, bool):
            raise RequestError(f"ready: expected true or false, got {ready!r:.40}")
        return JSONResponse([entry._asdict() for entry in self._models.index(ready_only=ready)])

    async def load(self, request: Request) -> Response:
        await self._change(request, self._inference.load)
        return Response()

    async def unload(self, request: Request) -> Response:
        await self._change(request, self._inference.unload)
        return Response()

    async def _change(self, request: Request, change: Callable[[str], Awaitable[None]]) -> None:
        values = http_tensors.parse_json(await read_body(request, _SMALL_BODY, self._patience))
        # NVIDIA's server takes a configuration or files here; this service has its operator's checkpoints only.
        if values.get("parameters", {}) not in ({}, {"unload_dependents": False}, {"unload_dependents": True}):
            raise RequestError(f"parameters: expected none but unload_dependents, got {values['parameters']!r:.80}")
        await change(_named(request)[0])

    async def metrics(self, request: Request) -> Response:
        return Response(self._inference.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    async def openapi(self, request: Request) -> Response:
        return JSONResponse(request.app.openapi())


Handler = Callable[..., Awaitable[Response]]

_MODEL = "/v2/models/{name}"
_VERSION = _MODEL + "/versions/{version}"
# Method, path, and the name of the handler and of its description in ``openapi.OPERATIONS``.
ROUTES = (
    ("GET", "/v2/health/live", "live"),
    ("GET", "/v2/health/ready", "ready"),
    ("GET", "/v2", "server"),
    ("GET", "/v2/models/stats", "statistics"),  # of all models
    *(("GET", path, "model") for path in (_MODEL, _VERSION)),
    *(("GET", f"{path}/ready", "model_ready") for path in (_MODEL, _VERSION)),
    *(("GET", f"{path}/config", "config") for path in (_MODEL, _VERSION)),
    *(("GET", f"{path}/stats", "statistics") for path in (_MODEL, _VERSION)),
    *(("POST", f"{path}/infer", "infer") for path in (_MODEL, _VERSION)),
    ("POST", "/v2/repository/index", "index"),
    ("POST", "/v2/repository/models/{name}/load", "load"),
    ("POST", "/v2/repository/models/{name}/unload", "unload"),
    ("POST", "/v1/segment", "segment"),
    ("POST", "/v1/similar", "similar"),
    ("GET", "/metrics", "metrics"),
    ("GET", "/openapi.json", "openapi"),
)
_OPEN = ("/v2/health/live", "/v2/health/ready")  # no token: a probe has none


def create_app(inference: Inference, *, token: str | None = None, media_root: Path | None = None) -> FastAPI:
    """The ASGI application; with a token every path but health asks for it. Films are those below ``media_root``."""
    app = FastAPI(title="megaseg", version=__version__, openapi_url=None, docs_url=None, redoc_url=None)
    routes = _Routes(inference, media_root)
    for method, path, name in ROUTES:
        described: dict[str, Any] = openapi.OPERATIONS[name]
        endpoint = _answered(getattr(routes, name), inference)
        options: dict[str, Any] = {"response_class": Response, "response_model": None}
        app.add_api_route(path, endpoint, methods=[method], name=name, **options, **described)
        if method == "GET":
            app.add_api_route(path, endpoint, methods=["HEAD"], **options, include_in_schema=False)
    app.add_middleware(_Gate, token=token, inference=inference)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _no_route)
    generate = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = openapi.document(generate(), inference.models.names(), token=token is not None)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's own way to change the document
    return app


class _Gate:
    """Refuses requests without the token, before anything of them is read."""

    def __init__(self, app: ASGIApp, token: str | None, inference: Inference) -> None:
        self._app, self._token, self._metrics = app, token, inference.metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _OPEN:
            return await self._app(scope, receive, send)
        headers = dict(scope["headers"])
        try:
            with self._metrics.failing("http", ""):
                if not accepts(self._token, headers.get(b"authorization", b"").decode("latin-1")):
                    raise Unauthorized("Authorization: expected the service's bearer token")
                if self._token is None and b"origin" in headers:
                    # A page that somebody's browser shows must not reach a service on their own machine.
                    raise Unauthorized("Origin: expected a token with a request from a web page")
        except Unauthorized as error:
            return await _error(error)(scope, receive, send)
        return await self._app(scope, receive, send)


def _named(request: Request) -> tuple[str, str]:
    """Model name and version of a path; no version is the only one."""
    return request.path_params.get("name", ""), request.path_params.get("version", "")


def _answered(handler: Handler, inference: Inference) -> Handler:
    """A handler whose every error is an answer, and its end where the server's shutdown cuts it off."""

    @wraps(handler)
    async def endpoint(*arguments: Any, **keywords: Any) -> Response:
        try:
            return await handler(*arguments, **keywords)
        except asyncio.CancelledError:
            if inference.ready():
                raise
            return _error(ModelNotReady(ENDING))
        except Exception as error:  # noqa: BLE001 (a client gets no traceback; the log has it)
            if not isinstance(error, MegasegError):
                log("defect", logging.ERROR, exception=error, route=handler.__name__)
            return _error(error)

    return endpoint


def _error(error: Exception) -> Response:
    status = status_of(error)
    headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, Unauthorized) else None
    return JSONResponse({"error": message_of(error)}, status.http, headers)


async def _invalid(request: Request, error: Exception) -> Response:
    problems = error.errors() if isinstance(error, RequestValidationError) else ()
    known = SimilarQuery if request.url.path.endswith("/similar") else SegmentQuery
    told = "; ".join(f"{problem['loc'][-1]}: {_told(problem, known)}" for problem in problems)
    return _error(RequestError(told or "malformed request"))


def _told(problem: Mapping[str, Any], query: type[BaseModel]) -> str:
    if problem["type"] == "extra_forbidden":
        return f"expected some of {', '.join(query.model_fields)}"
    return str(problem["msg"])


async def _no_route(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)

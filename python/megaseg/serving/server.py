"""Both protocols on one event loop: from settings to a service, and its graceful end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import grpc
import uvicorn

from megaseg.engine.engine import Engine
from megaseg.engine.live.scheduler import Scheduler
from megaseg.errors import UnsupportedError
from megaseg.serving.grpc import start
from megaseg.serving.http import create_app
from megaseg.serving.inference import Inference
from megaseg.serving.logs import log, log_to_stderr
from megaseg.serving.metrics import Metrics
from megaseg.serving.models import Models
from megaseg.serving.offload import low_priority_thread
from megaseg.serving.searching import Searching
from megaseg.serving.settings import Settings

T = TypeVar("T")
_GRACE = 10.0  # seconds for clients to take their answers once all accepted work is done


async def serve(
    settings: Settings, *, stop: asyncio.Event | None = None, on_start: Callable[[int, int], None] | None = None
) -> None:
    """Serve until SIGTERM or SIGINT, then refuse new work, answer what was accepted, and return.

    A second signal ends the process at once. Logs go to stderr, one JSON object a line.

    Args:
        stop: ends the service in place of the signals, which are then left alone.
        on_start: called with the HTTP and the gRPC port when both are open.

    Raises:
        CheckpointError, UnsupportedError, ResourceLimitError: of a model or an option.
        OSError: an address that cannot be had.
    """
    log_to_stderr()
    metrics = Metrics()
    models = _models(settings, metrics)
    try:
        for name in models.names():
            model = await asyncio.to_thread(models.load, name)
            log("model loaded", model=name, **model.engine.describe())
        gc.collect()
        gc.freeze()  # modules and models stay: without this, a full collection halts every answer for tens of ms
        search = None
        if settings.index is not None:
            search = await asyncio.to_thread(Searching, settings.index, settings.checkpoints, metrics)
        inference = Inference(models, limits=settings.limits, metrics=metrics, search=search)
        if stop is not None:
            await _serve(settings, inference, stop, on_start)
        else:
            with _signals() as stop:
                await _serve(settings, inference, stop, on_start)
    finally:
        await asyncio.to_thread(models.close)


async def _serve(
    settings: Settings, inference: Inference, stop: asyncio.Event, on_start: Callable[[int, int], None] | None
) -> None:
    certificate, key = _tls(settings)
    with _listen(settings.host, settings.http_port) as listener:
        rpc = await start(
            inference,
            inference.models,
            address=_address(settings.host, settings.grpc_port),
            credentials=grpc.ssl_server_credentials([(key, certificate)]) if certificate else None,
            token=settings.token,
            max_bytes=settings.limits.max_body_bytes,
        )
        http = _http(settings, inference)
        http_port: int = listener.getsockname()[1]
        serving = asyncio.create_task(http.serve(sockets=[listener]))
        stopping = asyncio.create_task(stop.wait())
        try:
            log("serving", host=settings.host, http_port=http_port, grpc_port=rpc.port, tls=certificate is not None)
            if on_start is not None:
                on_start(http_port, rpc.port)
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            log("draining")
            await inference.close()
        finally:
            stopping.cancel()
            http.should_exit = True
            await asyncio.gather(serving, rpc.stop(_GRACE))
    log("stopped")


def _http(settings: Settings, inference: Inference) -> _Http:
    config = uvicorn.Config(
        create_app(inference, token=settings.token, media_root=settings.media_root),
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        http="h11",
        ws="none",
        timeout_keep_alive=75,  # seconds: longer than live streams pause between shots
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
        timeout_graceful_shutdown=int(_GRACE),
    )
    return _Http(config)


def _models(settings: Settings, metrics: Metrics) -> Models:
    def open_engine(checkpoint: str) -> Engine:
        make = partial(
            Engine.from_checkpoint,
            checkpoint,
            device=settings.device,
            compute_type=settings.compute_type,
            backend=settings.backend,
            num_threads=settings.num_threads,
            overflow=settings.overflow,
        )
        return _in_background(make)

    def scheduler(name: str, engine: Engine) -> Scheduler:
        make = partial(
            Scheduler,
            engine,
            max_batch_size=settings.max_batch_size,
            max_queue_delay_us=settings.max_queue_delay_us,
            max_queue=settings.max_queue,
            on_batch=metrics.batches(name),
        )
        return _in_background(make)

    return Models(settings.checkpoints, open=open_engine, scheduler=scheduler)


def _in_background(make: Callable[[], T]) -> T:
    """Make what starts threads of its own, in a thread of low priority."""
    with low_priority_thread() as thread:
        return thread.submit(make).result()


class _Http(uvicorn.Server):
    """Uvicorn without signal handlers of its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.contextmanager
def _signals() -> Iterator[asyncio.Event]:
    """An event that SIGTERM and SIGINT set; after the first of them, the next has its default effect."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    both = (signal.SIGTERM, signal.SIGINT)

    def first() -> None:
        stop.set()
        for each in both:
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)

    for each in both:
        loop.add_signal_handler(each, first)
    try:
        yield stop
    finally:
        for each in both:
            loop.remove_signal_handler(each)


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket; what connects before uvicorn accepts waits in its backlog."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)  # named, or asyncio would not turn Nagle's delay of 40 ms off
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(2048)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise OSError(f"HTTP cannot listen on {_address(host, port)}: {error.strerror}") from error
    return listener


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _tls(settings: Settings) -> tuple[bytes, bytes] | tuple[None, None]:
    """Certificate chain and key (PEM), checked to belong together."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None, None
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(settings.tls_certificate, settings.tls_key)
        return settings.tls_certificate.read_bytes(), settings.tls_key.read_bytes()
    except (OSError, ValueError) as error:
        pair = f"tls_certificate {settings.tls_certificate}, tls_key {settings.tls_key}"
        raise UnsupportedError(f"{pair}: expected a certificate and its key in PEM, got: {error}") from error

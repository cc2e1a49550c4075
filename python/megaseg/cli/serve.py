"""``megaseg serve``: models over HTTP and gRPC."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from megaseg.cli.console import (
    MODEL_KEYWORDS,
    BackendOption,
    ComputeTypeOption,
    DeviceOption,
    OverflowOption,
    ThreadsOption,
    named_flags,
)
from megaseg.errors import UnsupportedError
from megaseg.serving.security import read_token
from megaseg.serving.settings import Exposed, Limits, Settings, named

_FLAGS = (
    *MODEL_KEYWORDS,
    "http_port",
    "grpc_port",
    "max_batch_size",
    "max_queue_delay_us",
    "max_queue",
    "idle_seconds",
)
_OTHERS = {"checkpoints": "--checkpoint", "tls_certificate and tls_key": "--tls-certificate and --tls-key"}
_PEM = {"exists": True, "dir_okay": False}


@named_flags(*_FLAGS, **_OTHERS)
def serve(
    checkpoint: Annotated[
        list[str],
        typer.Option("--checkpoint", "-c", help="NAME_OR_PATH, or name=path; its model's name is the file's stem."),
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    http_port: Annotated[int, typer.Option(help="HTTP port; 0 takes a free one.", min=0, max=65535)] = 8000,
    grpc_port: Annotated[int, typer.Option(help="gRPC port; 0 takes a free one.", min=0, max=65535)] = 8001,
    device: DeviceOption = "auto",
    compute_type: ComputeTypeOption = "auto",
    backend: BackendOption = "auto",
    threads: ThreadsOption = 0,
    overflow: OverflowOption = "error",
    max_batch_size: Annotated[int, typer.Option(help="Most windows of one batch.", min=1)] = 64,
    max_queue_delay_us: Annotated[int, typer.Option(help="How long a window waits for company.", min=0)] = 0,
    max_queue: Annotated[int, typer.Option(help="Most requests that wait; more are refused.", min=1)] = 1024,
    max_body_mib: Annotated[int, typer.Option(help="Largest request, as sent and as unpacked.", min=1)] = 256,
    max_shots: Annotated[int, typer.Option(help="Most shots of one request.", min=1)] = 20_000,
    max_streams: Annotated[int, typer.Option(help="Most sequences open at a time.", min=1)] = 10_000,
    idle_seconds: Annotated[float, typer.Option(help="A sequence idle for so long is dropped.")] = 300.0,
    tls_certificate: Annotated[Path | None, typer.Option(help="Certificate chain, PEM.", **_PEM)] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key, PEM.", **_PEM)] = None,
    token_file: Annotated[Path | None, typer.Option(help="File with the bearer token to ask for.", **_PEM)] = None,
    media_root: Annotated[
        Path | None, typer.Option(help="Folder whose films requests may name, by paths below it; default: no films.")
    ] = None,
    index: Annotated[
        Path | None, typer.Option("--index", help="Index of megaseg index, for POST /v1/similar; extra search.")
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Allow other machines without TLS and token.")] = False,
) -> None:
    """Serve models over HTTP and gRPC (Open Inference Protocol), batched across callers.

    Logs are JSON lines on stderr. SIGTERM finishes accepted work; a second one stops at once.
    """
    try:
        settings = Settings(
            checkpoints=named(checkpoint),
            host=host,
            http_port=http_port,
            grpc_port=grpc_port,
            device=device,
            compute_type=compute_type,
            backend=backend,
            num_threads=threads,
            overflow=overflow,
            max_batch_size=max_batch_size,
            max_queue_delay_us=max_queue_delay_us,
            max_queue=max_queue,
            limits=Limits(max_body_mib << 20, max_shots, max_streams, idle_seconds),
            tls_certificate=tls_certificate,
            tls_key=tls_key,
            token=None if token_file is None else read_token(token_file),
            insecure=insecure,
            media_root=media_root,
            index=index,
        )
    except Exposed as error:
        raise Exposed(f"{error}: --tls-certificate and --tls-key, --token-file, or --insecure") from error
    try:
        from megaseg.serving import server
    except ImportError as error:
        raise UnsupportedError(
            f"megaseg serve needs the extra serve: pip install 'megaseg[serve]' ({error})"
        ) from error
    asyncio.run(server.serve(settings))

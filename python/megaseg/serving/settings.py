"""What ``megaseg serve`` was asked to do: frozen, and checked once."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from megaseg.errors import UnsupportedError


class Exposed(UnsupportedError):
    """A service that other machines could reach without TLS or a token."""


@dataclass(frozen=True)
class Limits:
    """What one client may ask for.

    ``max_body_bytes``: a request's body, and what it unpacks to; ``max_shots``: shots of one request;
    ``max_streams``: sequences open at a time; ``idle_seconds``: a sequence without a request for so long is dropped.

    Raises:
        UnsupportedError: a limit that is not positive.
    """

    max_body_bytes: int = 256 << 20
    max_shots: int = 20_000
    max_streams: int = 10_000
    idle_seconds: float = 300.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise UnsupportedError(f"{name}: expected more than 0, got {value}")


@dataclass(frozen=True, slots=True)
class Settings:
    """A service: ``checkpoints`` by model name, where it listens (port 0 takes a free one), and how it runs.

    ``media_root`` is a folder whose films requests may name; None reads no films. ``index`` is an index of scenes that
    requests search.

    Raises:
        UnsupportedError: no model, a model name that a URL cannot carry, one half of a TLS pair, or an address beyond
            this machine without TLS or a token and without ``insecure``.
    """

    checkpoints: Mapping[str, str]
    host: str = "127.0.0.1"
    http_port: int = 8000
    grpc_port: int = 8001
    device: str = "auto"
    compute_type: str = "auto"
    backend: str = "auto"
    num_threads: int = 0
    overflow: str = "error"
    max_batch_size: int = 64
    max_queue_delay_us: int = 0
    max_queue: int = 1024
    limits: Limits = field(default_factory=Limits)
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    token: str | None = field(default=None, repr=False)
    insecure: bool = False
    media_root: Path | None = None
    index: Path | None = None

    def __post_init__(self) -> None:
        if not self.checkpoints:
            raise UnsupportedError("checkpoints: expected at least one, got none")
        for name in self.checkpoints:
            if not re.fullmatch(r"[\w.-]+", name, re.ASCII):
                raise UnsupportedError(f"checkpoints: expected a name of letters, digits, . _ and -, got {name!r}")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise UnsupportedError("tls_certificate and tls_key: expected both or neither, got one")
        if self.media_root is not None and not self.media_root.is_dir():
            raise UnsupportedError(f"media_root: expected a folder, got {self.media_root}")
        if not (self.insecure or self.token or self.tls_certificate or is_loopback(self.host)):
            raise Exposed(
                f"host {self.host}: other machines can reach it; expected a TLS certificate and key, or a token, or "
                "insecure where something else keeps strangers out"
            )


def named(checkpoints: Sequence[str]) -> dict[str, str]:
    """Checkpoints by model name: each is ``name=path``, or a path or shipped name, whose stem is the name.

    Raises:
        UnsupportedError: two of one name.
    """
    sources: dict[str, str] = {}
    for given in checkpoints:
        name, equals, path = given.partition("=")
        if not equals:
            name, path = Path(given).stem, given
        if name in sources:
            raise UnsupportedError(
                f"checkpoints: expected different names, got {name!r} for {sources[name]} and {path}; give name=path"
            )
        sources[name] = path
    return sources


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address; any name but ``localhost`` may be anywhere."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

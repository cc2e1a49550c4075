"""Real services in a thread, on free ports, over small random models."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from support import random_checkpoint, random_features, small_config

from megaseg.engine.engine import Engine
from megaseg.engine.model.checkpoint import save_checkpoint
from megaseg.serving.settings import Settings

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Service:
    """A running service; ``http`` is a client of its own, ``stop`` begins its end."""

    http_port: int
    grpc_port: int
    http: Any
    stop: Callable[[], None]

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.http_port}"

    def metrics(self) -> dict[tuple[str, tuple[str, ...]], float]:
        """Every sample by its name and its labels' values."""
        from prometheus_client.parser import text_string_to_metric_families

        families = text_string_to_metric_families(self.http.get("/metrics").raise_for_status().text)
        return {
            (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in families
            for sample in family.samples
        }


@contextmanager
def running(settings: Settings, **client: Any) -> Iterator[Service]:
    serve = pytest.importorskip("megaseg.serving.server", reason="needs the extra serve").serve
    httpx = pytest.importorskip("httpx")
    ready: Any = threading.Event()
    held: dict[str, Any] = {}

    async def main() -> None:
        held["loop"], held["stop"] = asyncio.get_running_loop(), asyncio.Event()

        def started(*ports: int) -> None:
            held["ports"] = ports
            ready.set()

        await serve(settings, stop=held["stop"], on_start=started)

    def work() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:  # noqa: BLE001 (for the test's own thread)
            held["error"] = error
        finally:
            ready.set()

    def stop() -> None:
        with suppress(RuntimeError):  # the loop has ended
            held["loop"].call_soon_threadsafe(held["stop"].set)

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait()
    try:
        if "error" in held:
            raise held["error"]
        scheme = "https" if settings.tls_key else "http"
        with httpx.Client(base_url=f"{scheme}://127.0.0.1:{held['ports'][0]}", timeout=30, **client) as http:
            yield Service(*held["ports"], http, stop)
    finally:
        if "ports" in held:
            stop()
        thread.join()
    assert "error" not in held


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    for task in ("scene", "act"):
        save_checkpoint(folder / f"{task}.safetensors", random_checkpoint(small_config(task)))
    return {task: str(folder / f"{task}.safetensors") for task in ("scene", "act")}


@pytest.fixture(scope="session")
def engines(checkpoints: Mapping[str, str]) -> dict[str, Engine]:
    """What the service is to agree with."""
    return {task: Engine.from_checkpoint(path) for task, path in checkpoints.items()}


@pytest.fixture(scope="module")
def service(checkpoints: Mapping[str, str]) -> Iterator[Service]:
    with running(Settings(checkpoints, http_port=0, grpc_port=0, num_threads=1)) as one:
        yield one


@pytest.fixture
def start(checkpoints: Mapping[str, str]) -> Iterator[Callable[..., Service]]:
    """Starts a service with settings of its own; ``client`` are arguments of its HTTP client."""
    with ExitStack() as stack:

        def begin(client: Mapping[str, Any] = {}, **settings: Any) -> Service:
            chosen = {"checkpoints": checkpoints, "http_port": 0, "grpc_port": 0, "num_threads": 1, **settings}
            return stack.enter_context(running(Settings(**chosen), **client))

        yield begin


@pytest.fixture
def movie() -> Arrays:
    return random_features(small_config(), 30)

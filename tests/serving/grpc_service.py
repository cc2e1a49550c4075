"""A service over gRPC on a free port, in a thread of its own, and what a client sends it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator
from typing import Any

import numpy as np
from support import random_checkpoint, random_features, small_config
from tritonclient.grpc import InferenceServerClient, InferInput

from megaseg import Engine
from megaseg.engine.live.scheduler import Scheduler
from megaseg.serving import grpc as serving
from megaseg.serving.inference import Inference
from megaseg.serving.metrics import Metrics
from megaseg.serving.models import Models
from megaseg.serving.settings import Limits

TYPES = {np.dtype(np.float32): "FP32", np.dtype(np.int64): "INT64", np.dtype(bool): "BOOL", np.dtype(np.int32): "INT32"}


class Gate:
    """A backend that runs while it is open; ``entered`` is set once a batch has come to it."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self.open, self.entered = threading.Event(), threading.Event()
        self.open.set()

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._backend, name)

        def through(*arguments: Any) -> Any:
            self.entered.set()
            assert self.open.wait(30)
            return call(*arguments)

        return through if name.startswith("run") else call

    def shut(self) -> None:
        self.open.clear()
        self.entered.clear()


class Service:
    """Models ``scene`` and ``act`` behind a server; ``engines`` are copies to compare with."""

    def __init__(self, **options: Any) -> None:
        tasks = ("scene", "act")
        checkpoints = {task: random_checkpoint(small_config(task)) for task in tasks}
        self.engines = {task: open_engine(checkpoint) for task, checkpoint in checkpoints.items()}
        self.gates: dict[str, Gate] = {}
        self.schedulers: dict[str, Scheduler] = {}
        queue = options.pop("max_queue", 1024)

        def open_(task: str) -> Engine:
            engine = open_engine(checkpoints[task])
            engine.backend = self.gates[task] = Gate(engine.backend)  # type: ignore[assignment]
            return engine

        def scheduler(name: str, engine: Engine) -> Scheduler:
            self.schedulers[name] = Scheduler(engine, max_queue=queue)
            return self.schedulers[name]

        self.models = Models({task: task for task in tasks}, open=open_, scheduler=scheduler)
        for task in tasks:
            self.models.load(task)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.server = self.call(self._start(options))
        self.address = f"localhost:{self.server.port}"

    async def _start(self, options: dict[str, Any]) -> serving.Server:
        self.inference = Inference(self.models, limits=Limits(max_shots=500), metrics=Metrics())
        return await serving.start(
            self.inference, self.models, **{"address": "localhost:0", "max_bytes": 1 << 20, **options}
        )

    def call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def stop(self) -> None:
        for gate in self.gates.values():
            gate.open.set()
        self.call(self.server.stop(5))
        self.call(self.inference.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@contextlib.contextmanager
def running(**options: Any) -> Iterator[Service]:
    service = Service(**options)
    try:
        yield service
    finally:
        service.stop()


@contextlib.contextmanager
def connected(service: Service, **options: Any) -> Iterator[InferenceServerClient]:
    client = InferenceServerClient(service.address, **options)
    try:
        yield client
    finally:
        client.close()


def open_engine(checkpoint: Any) -> Engine:
    return Engine.from_checkpoint(checkpoint, compute_type="float32", num_threads=1)


def movie(task: str = "scene", shots: int = 30, seed: int = 0) -> dict[str, np.ndarray]:
    return random_features(small_config(task), shots, seed)


def tensors(arrays: dict[str, np.ndarray]) -> list[InferInput]:
    made = []
    for name, array in arrays.items():
        tensor = InferInput(name, array.shape, TYPES[array.dtype])
        tensor.set_data_from_numpy(np.ascontiguousarray(array))
        made.append(tensor)
    return made


def rows(features: dict[str, np.ndarray], begin: int, end: int) -> dict[str, np.ndarray]:
    return {name: array[begin:end] for name, array in features.items()}

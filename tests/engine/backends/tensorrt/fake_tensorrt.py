"""TensorRT and a GPU as far as the control flow goes: names and rules of the real ones, numbers by ONNX Runtime.

Nothing that is enqueued happens before it is waited for, so that memory which is read too early or written again too
soon gives wrong numbers. What the real ones leave undefined is an error here.
"""

from __future__ import annotations

import contextlib
import enum
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import fake_builder
import fake_runtime
import numpy as np
import pytest
import torch


class Machine:
    """A TensorRT of some version and a GPU of some name, with what a test wants to see or to go wrong."""

    def __init__(self, version: str = "11.4.0.106", gpu: str = "Fake H200", capability: str = "9.0") -> None:
        self.version, self.gpu, self.capability = version, gpu, capability
        self.major = int(version.split(".")[0])
        self.queue: list[Callable[[], None]] = []
        self.recording: list[Callable[[], None]] | None = None
        self.broken = ""  # build, deserialize, context, shape, run
        self.builds = self.timed = self.captures = self.replays = 0
        self.shapes: list[dict[str, tuple[int, ...]]] = []  # of every run, in order
        self.flags: set[str] = set()  # of the latest build
        self.workspace: int | None = None
        self.module = _module(self)

    def install(self, patch: pytest.MonkeyPatch) -> Machine:
        patch.setitem(sys.modules, "tensorrt", self.module)
        patch.setattr("megaseg.engine.backends.tensorrt.backend.Device", lambda: Device(self))
        return self

    def enqueue(self, work: Callable[[], None]) -> None:
        (self.queue if self.recording is None else self.recording).append(work)


class Device:
    """The interface of ``megaseg.engine.backends.tensorrt.device.Device`` in host memory."""

    handle = fake_runtime.STREAM

    def __init__(self, machine: Machine) -> None:
        self._machine, self.name, self.capability = machine, machine.gpu, machine.capability

    def stream(self) -> Any:
        return contextlib.nullcontext()

    def memory(self, size: int, dtype: Any = np.uint8) -> torch.Tensor:
        return torch.from_numpy(np.zeros(size, dtype))

    pinned = memory

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> None:
        assert len(target) == len(source)
        self._machine.enqueue(lambda: target.copy_(source))  # type: ignore[arg-type, return-value]

    def mark(self) -> Callable[[], None]:
        """Waits for everything that is enqueued now."""
        queue = self._machine.queue
        reached = queue[-1] if queue else None

        def wait() -> None:
            while reached in queue:
                queue.pop(0)()

        return wait

    def capture(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        machine = self._machine
        recorded = machine.recording = []
        enqueue()
        machine.recording = None
        machine.captures += 1

        def replay() -> None:
            machine.replays += 1
            for work in recorded:
                machine.enqueue(lambda work=work: work())  # type: ignore[misc]

        return replay


def _enum(name: str, *members: str) -> Any:
    return enum.IntEnum(name, {member: value for value, member in enumerate(members)})  # type: ignore[misc]


def _module(machine: Machine) -> Any:
    """The module ``tensorrt``, with the names of the machine's version and no others."""
    major, old = machine.major, machine.major < 10
    trt: Any = ModuleType("tensorrt")
    trt.__version__ = machine.version
    trt.DataType = _enum("DataType", "FLOAT", "HALF", "INT32", "BOOL", *([] if old else ["INT64", "BF16"]))
    trt.LayerType = _enum("LayerType", "CONSTANT", "CAST", "SHAPE", "MATRIX_MULTIPLY")
    trt.MemoryPoolType = _enum("MemoryPoolType", "WORKSPACE")
    trt.ErrorCode = _enum("ErrorCode", "SUCCESS", "INVALID_NODE")
    weak = ["FP16", "OBEY_PRECISION_CONSTRAINTS"] if major < 11 else []
    trt.BuilderFlag = _enum("BuilderFlag", "TF32", "DEBUG", *weak)
    batch = ["EXPLICIT_BATCH"] if major < 11 else ["PREFER_AOT_PYTHON_PLUGINS"]
    strong = [] if old else ["STRONGLY_TYPED"]
    trt.NetworkDefinitionCreationFlag = _enum("NetworkDefinitionCreationFlag", *batch, *strong)
    if old:
        trt.PreviewFeature = _enum("PreviewFeature", "PROFILE_SHARING_0806")
    else:
        trt.ExecutionContextAllocationStrategy = _enum("ExecutionContextAllocationStrategy", "STATIC", "USER_MANAGED")
    for name, kind in {**fake_builder.classes(major), **fake_runtime.classes(major)}.items():
        setattr(trt, name, type(name, (kind,), {"_machine": machine, "_trt": trt}))
    return trt

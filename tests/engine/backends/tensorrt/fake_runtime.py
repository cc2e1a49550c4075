"""The fake TensorRT's running: engines whose numbers ONNX Runtime computes, and contexts with the real ones' rules."""

from __future__ import annotations

import ctypes
import json
import math
from typing import Any

import numpy as np
import onnx
import onnxruntime
from fake_builder import MAGIC, Bound, Severity

STREAM = 7  # the device's only one
NUMPY = {"FLOAT": np.float32, "INT32": np.int32, "INT64": np.int64}


def classes(major: int) -> dict[str, type]:
    old = major < 10
    return {
        "Runtime": Runtime,
        "ICudaEngine": OldEngine if old else NewEngine,
        "IExecutionContext": OldContext if old else NewContext,
    }


class Runtime(Bound):
    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine: Any) -> Any:
        data = bytes(serialized_engine)
        head, _, model = data[len(MAGIC) :].partition(b"\0")
        if self._machine.broken == "deserialize" or not data.startswith(MAGIC):
            self._logger.log(Severity.ERROR, "Error Code 1: Serialization (magic tag does not match)")
            return None
        return self._trt.ICudaEngine(self._logger, json.loads(head), model)


class ICudaEngine(Bound):
    def __init__(self, logger: Any, head: dict[str, Any], model: bytes) -> None:
        self._logger, self._profile, self._sharing = logger, head["profile"], head["sharing"]
        self._session = onnxruntime.InferenceSession(_with_plugins(model), providers=["CPUExecutionProvider"])
        values = [*self._session.get_inputs(), *self._session.get_outputs()]
        kinds = {"tensor(float)": "FLOAT", "tensor(int64)": "INT32" if self._machine.major < 10 else "INT64"}
        self._types = {value.name: self._trt.DataType[kinds[value.type]] for value in values}
        self._outputs = [value.name for value in self._session.get_outputs()]
        self._contexts = 0

    @property
    def num_io_tensors(self) -> int:
        return len(self._types)

    def get_tensor_name(self, index: int) -> str:
        return list(self._types)[index]

    def get_tensor_dtype(self, name: str) -> Any:
        return self._types[name]

    def _context(self) -> Any:
        self._contexts += 1
        if self._machine.broken == "context" or (self._contexts > 1 and not self._sharing):
            self._logger.log(Severity.ERROR, "Error Code 3: profile 0 is used by another context")
            return None
        return self._trt.IExecutionContext(self)

    def _run(self, shapes: dict[str, tuple[int, ...]], addresses: dict[str, int]) -> None:
        feeds = {}
        for name, shape in shapes.items():
            array = _at(addresses[name], shape, NUMPY[self._types[name].name])
            feeds[name] = array if array.dtype == np.float32 else array.astype(np.int64)
        for name, values in zip(self._outputs, self._session.run(self._outputs, feeds), strict=True):
            _at(addresses[name], values.shape, np.float32)[...] = values


class OldEngine(ICudaEngine):
    device_memory_size = 1000

    def create_execution_context_without_device_memory(self) -> Any:
        return self._context()


class NewEngine(ICudaEngine):
    device_memory_size_v2 = 1000

    def create_execution_context(self, strategy: Any = 0) -> Any:
        assert strategy == self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        return self._context()


class IExecutionContext(Bound):
    def __init__(self, engine: ICudaEngine) -> None:
        self._engine, self._profile, self._memory = engine, -1, 0
        self._addresses: dict[str, int] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._changes = 0
        self._ran: int | None = None  # changes when it ran last

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        self._profile, self._changes = profile_index, self._changes + 1
        return stream_handle == STREAM

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name], self._changes = memory, self._changes + 1
        return memory > 0

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, _, most = self._engine._profile[name]
        fits = all(a <= n <= b for a, n, b in zip(least, shape, most, strict=True))
        if not fits or self._machine.broken == "shape":
            self._engine._logger.log(Severity.ERROR, f"{name}: {shape} is not in {least} to {most}")
            return False
        self._shapes[name], self._changes = tuple(shape), self._changes + 1
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        machine, engine = self._machine, self._engine
        assert stream_handle == STREAM
        if machine.broken == "run" or self._profile != 0 or not self._memory:
            engine._logger.log(Severity.ERROR, "Error Code 1: Cuda Runtime (launch failed)")
            return False
        assert self._addresses.keys() == engine._types.keys()
        assert self._shapes.keys() == engine._profile.keys()
        captured = machine.recording is not None
        assert not captured or self._ran == self._changes, "captured before a plain run of the same shape"
        self._ran = changes = self._changes
        shapes = dict(self._shapes)

        def run() -> None:
            assert not captured or self._changes == changes, "a graph of a context that has changed since"
            machine.shapes.append(shapes)
            engine._run(shapes, self._addresses)

        machine.enqueue(run)
        return True


class OldContext(IExecutionContext):
    @property
    def device_memory(self) -> int:
        raise AttributeError("unreadable attribute")

    @device_memory.setter
    def device_memory(self, memory: int) -> None:
        self._memory = memory


class NewContext(IExecutionContext):
    def set_device_memory(self, memory: int, size: int) -> None:
        assert size >= self._engine.device_memory_size_v2  # type: ignore[attr-defined]
        self._memory = memory


def _with_plugins(model: bytes) -> bytes:
    """Nodes of the attention plugin as a function of standard operators."""
    proto = onnx.load_model_from_string(model)
    for index, node in enumerate(proto.graph.node):
        if node.op_type != "bottleneck_attention":
            continue
        values = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        assert (values["plugin_namespace"], values["plugin_version"], values["aot"]) == (b"megaseg", b"1", 1)
        heads, size = values["heads"], values["size"]
        text = f"""
            <domain: "megaseg", opset_import: ["" : 17]>
            attention_{index} (q, k, v) => (out)
            {{
                split = Constant <value_ints = [0, 0, {heads}, {size}]> ()
                joined = Constant <value_ints = [0, 0, {heads * size}]> ()
                a = Reshape (q, split)
                b = Reshape (k, split)
                c = Reshape (v, split)
                queries = Transpose <perm = [0, 2, 1, 3]> (a)
                keys = Transpose <perm = [0, 2, 3, 1]> (b)
                values = Transpose <perm = [0, 2, 1, 3]> (c)
                scores = MatMul (queries, keys)
                weights = Softmax <axis = -1> (scores)
                rows = MatMul (weights, values)
                back = Transpose <perm = [0, 2, 1, 3]> (rows)
                out = Reshape (back, joined)
            }}"""
        proto.functions.append(onnx.parser.parse_function(text))
        del node.attribute[:]
        node.op_type = f"attention_{index}"
    return bytes(proto.SerializeToString())


def _at(address: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    size = math.prod(shape) * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(address), dtype).reshape(shape)

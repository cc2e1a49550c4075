"""TensorRT 8.6, 10 and 11 behind one module: an engine from an ONNX model's bytes, and runs of an engine.

What differs: networks are typed by flags and pinned layers in 8.6, strongly by a flag in 10, and always strongly in 11;
8.6 has no bfloat16 and no int64; contexts without memory of their own are made by another call since 10.
"""

from __future__ import annotations

import functools
import logging
import os
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from megaseg.engine.backends.tensorrt.batches import input_shapes
from megaseg.engine.backends.tensorrt.device import INSTALL
from megaseg.engine.backends.tensorrt.plan import TIMING, Profile, read_body, write_body
from megaseg.engine.model.config import ModelConfig
from megaseg.engine.model.family import structure_of
from megaseg.errors import CheckpointError, MegasegError, UnsupportedError

COMPUTE_TYPES = ("float16", "bfloat16", "float32")
OLDEST = (8, 6)
_log = logging.getLogger(__name__)


def tensorrt() -> ModuleType:
    """The module ``tensorrt``.

    Raises:
        UnsupportedError: it or its libraries are not there, or it is older than 8.6.
    """
    try:
        import tensorrt as trt
    except (ImportError, OSError) as error:
        raise UnsupportedError(f"backend 'tensorrt' needs TensorRT 8.6, 10 or 11: {INSTALL} ({error})") from error
    version: str = trt.__version__
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise UnsupportedError(f"backend 'tensorrt': expected TensorRT 8.6, 10 or 11, got {version}")
    module: ModuleType = trt
    return module


def chosen_type(compute_type: str) -> str:
    """The compute type that ``auto`` stands for (float16), checked against this TensorRT.

    Raises:
        UnsupportedError: a type that TensorRT or this version of it does not run; lists those it does.
    """
    trt = tensorrt()
    here = [name for name in COMPUTE_TYPES if name != "bfloat16" or hasattr(trt.DataType, "BF16")]
    compute_type = "float16" if compute_type == "auto" else compute_type
    if compute_type not in here:
        raise UnsupportedError(
            f"compute_type {compute_type!r}: TensorRT {trt.__version__} supports {', '.join(here)} here"
        )
    return compute_type


@functools.cache
def _logger(trt: Any) -> Any:
    """TensorRT's messages in this module's log; ``last`` tells the latest errors."""
    levels = {"VERBOSE": 10, "INFO": 10, "WARNING": 30, "ERROR": 40, "INTERNAL_ERROR": 40}

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: deque[str] = deque(maxlen=4)

        def log(self, severity: Any, msg: str) -> None:
            level = levels[severity.name]
            if level == logging.ERROR:
                self.errors.append(msg)
            _log.log(level, "TensorRT: %s", msg)

        def last(self) -> str:
            told = "; ".join(self.errors) or "TensorRT gave no reason"
            self.errors.clear()
            return told

    return Logger()


def build(
    model: bytes,
    config: ModelConfig,
    compute_type: str,
    profile: Profile,
    *,
    workspace: int | None = None,
    timing_cache: Path | None = None,
) -> bytes:
    """Build the engine of an ONNX model (``megaseg.engine.backends.onnx.file.export``) for the GPU that is there.

    Args:
        compute_type: of the model; ``float16``, ``bfloat16`` (TensorRT 10 and later) or ``float32``.
        workspace: bytes of GPU memory that a layer may take while it runs; None leaves it to TensorRT.
        timing_cache: a file of earlier builds' measurements on this GPU, read and written.

    Raises:
        UnsupportedError: no TensorRT, a compute type that it does not run, or a model that it refuses, with reasons.
    """
    trt = tensorrt()
    compute_type = chosen_type(compute_type)
    logger = _logger(trt)
    builder = _started(trt, trt.Builder)
    flags = trt.NetworkDefinitionCreationFlag
    strongly = hasattr(flags, "STRONGLY_TYPED")
    network = builder.create_network(1 << int(flags.STRONGLY_TYPED if strongly else flags.EXPLICIT_BATCH))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        errors = "; ".join(_error_text(parser.get_error(index)) for index in range(parser.num_errors))
        raise UnsupportedError(f"TensorRT {trt.__version__} cannot read the ONNX model: {errors or logger.last()}")
    options = builder.create_builder_config()
    options.clear_flag(trt.BuilderFlag.TF32)  # on by default: float32 means float32
    if workspace is not None:
        options.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
    if not strongly:
        _pin_types(trt, network, options, model)
    optimisation = builder.create_optimization_profile()
    _set_shapes(optimisation, config, profile)
    if options.add_optimization_profile(optimisation) < 0:
        raise UnsupportedError(f"TensorRT {trt.__version__} refuses the profile {profile}: {logger.last()}")
    _attach_timing(options, timing_cache)
    plan = builder.build_serialized_network(network, options)
    if plan is None:
        raise UnsupportedError(f"TensorRT {trt.__version__} cannot build the model: {logger.last()}")
    _keep_timing(options, timing_cache)
    return bytes(memoryview(plan))


def _started(trt: Any, kind: Any) -> Any:
    """A builder or a runtime."""
    logger = _logger(trt)
    logger.errors.clear()
    try:
        return kind(logger)
    except TypeError as error:  # what the bindings make of a library that cannot start
        raise UnsupportedError(f"TensorRT {trt.__version__} cannot start on this GPU: {logger.last()}") from error


def _error_text(error: Any) -> str:
    return f"{error.desc()} (node {error.node()}, {error.code()})"


def _set_shapes(optimisation: Any, config: ModelConfig, profile: Profile) -> None:
    """The least, tuned and largest shape of every input."""
    graph = structure_of(config)
    shapes = [input_shapes(graph, *sizes) for sizes in zip(profile.sequences, profile.shots, strict=True)]
    for name in shapes[0]:
        least, tuned, most = (shape[name] for shape in shapes)
        optimisation.set_shape(name, least, tuned, most)


def _pin_types(trt: Any, network: Any, options: Any, model: bytes) -> None:
    """Give every layer of TensorRT 8.6 the type that the ONNX model states, and have it obeyed.

    A node's last layer has the node's output by name; layers that the parser puts before it take the same type.
    """
    stated = _stated_types(model)
    if "float16" in stated.values():
        options.set_flag(trt.BuilderFlag.FP16)
    options.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    options.set_preview_feature(trt.PreviewFeature.PROFILE_SHARING_0806, True)
    pinned = {"float32": trt.DataType.FLOAT, "float16": trt.DataType.HALF}
    typed = (trt.LayerType.CONSTANT, trt.LayerType.CAST)  # by themselves
    current = None
    for index in reversed(range(network.num_layers)):
        layer = network.get_layer(index)
        outputs = [layer.get_output(i) for i in range(layer.num_outputs)]
        for tensor in outputs:
            current = stated.get(tensor.name, current)
        if layer.type in typed or current not in pinned:
            continue
        if all(tensor.dtype in pinned.values() and not tensor.is_shape_tensor for tensor in outputs):
            layer.precision = pinned[current]
            for i in range(layer.num_outputs):
                layer.set_output_type(i, pinned[current])


def _stated_types(model: bytes) -> dict[str, str]:
    """The type of every tensor of an ONNX model by name, as NumPy calls it."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(model)).graph
    values = [*graph.input, *graph.output, *graph.value_info]
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    types |= {constant.name: constant.data_type for constant in graph.initializer}
    return {name: onnx.helper.tensor_dtype_to_np_dtype(kind).name for name, kind in types.items() if kind}


def _attach_timing(options: Any, path: Path | None) -> None:
    """Start from the kept measurements where they are good, else from none."""
    kept: bytes | memoryview = b""
    if path is not None and os.path.isfile(path):
        try:
            _, kept = read_body(path, TIMING)
        except CheckpointError as error:
            _log.warning("timing cache ignored, built afresh: %s", error)
    for content in (kept, b""):
        cache = options.create_timing_cache(content)
        if cache is not None and options.set_timing_cache(cache, False):
            return
        if content:
            _log.warning("timing cache ignored, built afresh: %s: TensorRT refuses it", path)


def _keep_timing(options: Any, path: Path | None) -> None:
    cache = options.get_timing_cache() if path is not None else None
    if path is None or cache is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_body(path, TIMING, {}, bytes(memoryview(cache.serialize())))
    except OSError as error:
        _log.warning("timing cache not kept: %s: %s", path, error)


class LoadedEngine:
    """A deserialised engine with memory for its largest run, shared by its contexts, which run one at a time."""

    def __init__(self, plan: memoryview, source: object, device: Any) -> None:
        """Raises:
        CheckpointError: TensorRT cannot read the engine. ResourceLimitError: it does not fit the GPU.
        """
        self._trt, self._device, self._source = tensorrt(), device, source
        self._logger = _logger(self._trt)
        self._runtime = _started(self._trt, self._trt.Runtime)
        with device.stream():
            self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise CheckpointError(f"{source}: expected an engine that TensorRT reads, got: {self._logger.last()}")
        engine = self._engine
        # Since 10 sizes are 64 bits wide, and the call of 8.6 is gone from 11.
        self._managed = getattr(self._trt, "ExecutionContextAllocationStrategy", None)
        self.workspace_bytes = int(engine.device_memory_size_v2 if self._managed else engine.device_memory_size)
        self._memory = device.memory(max(1, self.workspace_bytes))

    def tensors(self) -> dict[str, np.dtype[Any]]:
        """Every input and output by name, and the type of its elements."""
        engine, names = self._engine, self._trt.DataType
        types: dict[Any, np.dtype[Any]] = {names.FLOAT: np.dtype(np.float32), names.INT32: np.dtype(np.int32)}
        if hasattr(names, "INT64"):
            types[names.INT64] = np.dtype(np.int64)
        found: dict[str, np.dtype[Any]] = {}
        for name in (engine.get_tensor_name(index) for index in range(engine.num_io_tensors)):
            kind = engine.get_tensor_dtype(name)
            if kind not in types:
                raise CheckpointError(f"{self._source}: tensor {name}: expected float32 or an index, got {kind}")
            found[name] = types[kind]
        return found

    def context(self, addresses: Mapping[str, int]) -> Context:
        """A context that reads and writes its tensors at these addresses of the GPU."""
        engine, size = self._engine, self.workspace_bytes
        address = self._memory.data_ptr()
        if self._managed:
            context = engine.create_execution_context(self._managed.USER_MANAGED)
        else:
            context = engine.create_execution_context_without_device_memory()
        self._expect("a context", context is not None)
        if self._managed:
            context.set_device_memory(address, size)
        else:
            context.device_memory = address
        self._expect("a profile", context.set_optimization_profile_async(0, self._device.handle))
        for name, place in addresses.items():
            self._expect(f"tensor {name}", context.set_tensor_address(name, place))
        return Context(self, context)

    def _expect(self, what: str, done: bool) -> None:
        if not done:
            raise MegasegError(f"{self._source}: TensorRT refused {what}: {self._logger.last()}")


class Context:
    """One way to run an engine: its tensors' addresses, and the shapes of the latest run."""

    def __init__(self, owner: LoadedEngine, context: Any) -> None:
        self._owner, self._context = owner, context

    def reshape(self, shapes: Mapping[str, Sequence[int]]) -> None:
        """Set every input's shape."""
        for name, shape in shapes.items():
            done = self._context.set_input_shape(name, tuple(shape))
            self._owner._expect(f"shape {tuple(shape)} of {name}", done)

    def enqueue(self) -> None:
        """Enqueue one run on the device's stream."""
        self._owner._expect("to run", self._context.execute_async_v3(self._owner._device.handle))

"""The fake TensorRT's building: networks, the parser, profiles, timing caches and serialised engines."""

from __future__ import annotations

import enum
import json
from typing import Any

import onnx
from onnx.helper import tensor_dtype_to_np_dtype

MAGIC = b"fake engine "


class Severity(enum.IntEnum):
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class Bound:
    """``fake_tensorrt`` binds each class to a machine and the module that it is in."""

    _machine: Any
    _trt: Any


def classes(major: int) -> dict[str, type]:
    kinds = (ILogger, ITensor, INetworkDefinition, ParserError, OnnxParser, IOptimizationProfile, ITimingCache)
    found: dict[str, type] = {kind.__name__: kind for kind in (*kinds, IBuilderConfig, Builder, IHostMemory)}
    return {**found, "ILayer": ILayer if major > 10 else PinnedLayer}


class ILogger(Bound):
    Severity = Severity

    def log(self, severity: Any, msg: str) -> None:
        raise NotImplementedError


class IHostMemory(Bound, bytes):
    """The real one has the buffer protocol, too."""

    @property
    def nbytes(self) -> int:
        return len(self)


class ITensor(Bound):
    def __init__(self, name: str, dtype: Any, is_shape_tensor: bool) -> None:
        self.name, self.dtype, self.is_shape_tensor = name, dtype, is_shape_tensor


class ILayer(Bound):
    def __init__(self, type: Any, stated: str, outputs: list[ITensor]) -> None:
        self.type, self.num_outputs = type, len(outputs)
        self._outputs, self._stated = outputs, stated  # the type that the ONNX model says

    def get_output(self, index: int) -> ITensor:
        return self._outputs[index]


class PinnedLayer(ILayer):
    """A layer before TensorRT 11, which takes types."""

    precision: Any = None

    def set_output_type(self, index: int, dtype: Any) -> None:
        self._types = {**self._pinned(), index: dtype}

    def _pinned(self) -> dict[int, Any]:
        return getattr(self, "_types", {})


class INetworkDefinition(Bound):
    def __init__(self, flags: int) -> None:
        self._flags = flags
        self._model = onnx.ModelProto()
        self._layers: list[ILayer] = []

    @property
    def num_layers(self) -> int:
        return len(self._layers)

    def get_layer(self, index: int) -> ILayer:
        return self._layers[index]


class ParserError(Bound):
    def __init__(self, text: str) -> None:
        self._text = text

    def desc(self) -> str:
        return self._text

    def node(self) -> int:
        return 3

    def code(self) -> Any:
        return self._trt.ErrorCode.INVALID_NODE


class OnnxParser(Bound):
    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        self._network = network
        self._errors: list[ParserError] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]

    def parse(self, model: bytes, path: str | None = None) -> bool:
        try:
            proto = onnx.load_model_from_string(bytes(model))
            onnx.checker.check_model(proto, full_check=True)
        except Exception as error:  # noqa: BLE001 any text that protobuf and onnx have for it
            self._errors.append(self._trt.ParserError(f"no model: {error}"))
            return False
        self._network._model = proto
        self._network._layers = self._layers(proto) if self._machine.major < 10 else []
        return True

    def _layers(self, proto: onnx.ModelProto) -> list[ILayer]:
        """Two layers a node, the first with a name of the parser's own; TensorRT 8.6 calls every float FLOAT."""
        trt = self._trt
        graph = onnx.shape_inference.infer_shapes(proto).graph
        kinds = {
            value.name: tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            for value in (*graph.value_info, *graph.output)
        }
        named = {"Cast": trt.LayerType.CAST, "Constant": trt.LayerType.CONSTANT, "Shape": trt.LayerType.SHAPE}
        layers = []
        for index, node in enumerate(graph.node):
            kind = kinds[node.output[0]]
            dtype = trt.DataType.FLOAT if kind.kind == "f" else trt.DataType.INT32
            product = trt.LayerType.MATRIX_MULTIPLY
            for type_, name in (
                (product, f"(Unnamed Layer* {index}) [Shuffle]_output"),
                (named.get(node.op_type, product), node.output[0]),
            ):
                layers.append(trt.ILayer(type_, kind.name, [trt.ITensor(name, dtype, kind.kind != "f")]))
        return layers


class IOptimizationProfile(Bound):
    def __init__(self) -> None:
        self._shapes: dict[str, list[tuple[int, ...]]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        if not all(0 <= a <= b <= c for a, b, c in zip(min, opt, max, strict=True)):
            raise ValueError(f"{input}: {min} {opt} {max}")
        self._shapes[input] = [tuple(min), tuple(opt), tuple(max)]


class ITimingCache(Bound):
    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def serialize(self) -> bytes:
        content: bytes = self._trt.IHostMemory(b"timings " + json.dumps(self._values).encode())
        return content


class IBuilderConfig(Bound):
    def __init__(self) -> None:
        self._flags = {"TF32"}
        self._profiles: list[IOptimizationProfile] = []
        self._cache: ITimingCache | None = None
        self._workspace: int | None = None
        self._sharing = self._machine.major > 8

    def set_flag(self, flag: Any) -> None:
        self._flags.add(flag.name)

    def clear_flag(self, flag: Any) -> None:
        self._flags.discard(flag.name)

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        assert pool == self._trt.MemoryPoolType.WORKSPACE
        self._workspace = pool_size

    def set_preview_feature(self, feature: Any, enable: bool) -> None:
        self._sharing = feature == self._trt.PreviewFeature.PROFILE_SHARING_0806 and enable

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache | None:
        data = bytes(serialized_timing_cache)
        if data and not data.startswith(b"timings "):
            return None
        values = json.loads(data[8:]) if data else {"gpu": self._machine.gpu, "known": []}
        cache: ITimingCache = self._trt.ITimingCache(values)
        return cache

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if cache._values["gpu"] != self._machine.gpu and not ignore_mismatch:
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        return self._cache


class Builder(Bound):
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def create_network(self, flags: int = 0) -> Any:
        return self._trt.INetworkDefinition(flags)

    def create_builder_config(self) -> Any:
        return self._trt.IBuilderConfig()

    def create_optimization_profile(self) -> Any:
        return self._trt.IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> bytes | None:
        machine = self._machine
        machine.builds, machine.flags, machine.workspace = machine.builds + 1, config._flags, config._workspace
        shapes = config._profiles[0]._shapes
        for problem in (self._broken(network), self._wrong_pin(network), self._wrong_shape(network, shapes)):
            if problem:
                self._logger.log(Severity.ERROR, problem)
                return None
        self._time(network, config)
        head = {"version": machine.version, "profile": shapes, "sharing": config._sharing}
        content = MAGIC + json.dumps(head).encode() + b"\0" + network._model.SerializeToString()
        plan: bytes = self._trt.IHostMemory(content)
        return plan

    def _broken(self, network: INetworkDefinition) -> str:
        flags = self._trt.NetworkDefinitionCreationFlag
        needed = flags.EXPLICIT_BATCH if self._machine.major < 10 else flags.STRONGLY_TYPED
        if self._machine.major < 11 and not network._flags & 1 << int(needed):
            return "Error Code 4: not a network with explicit types"
        return "Error Code 10: no implementation for node attention" if self._machine.broken == "build" else ""

    def _wrong_pin(self, network: INetworkDefinition) -> str:
        """Each layer must be pinned to what the model says, but those that say it themselves or have no floats."""
        trt = self._trt
        types = {"float32": trt.DataType.FLOAT, "float16": trt.DataType.HALF}
        for layer in network._layers:
            assert isinstance(layer, PinnedLayer)
            free = layer.type in (trt.LayerType.CAST, trt.LayerType.CONSTANT) or layer._stated not in types
            pins = [layer.precision, *layer._pinned().values()]
            if pins != ([None] if free else [types[layer._stated]] * 2):
                return f"layer {layer.get_output(0).name} is pinned to {pins}, the model says {layer._stated}"
        return ""

    def _wrong_shape(self, network: INetworkDefinition, shapes: dict[str, list[tuple[int, ...]]]) -> str:
        for value in network._model.graph.input:
            sizes = [size.dim_value or -1 for size in value.type.tensor_type.shape.dim]
            for shape in shapes[value.name]:
                if any(size not in (-1, n) for size, n in zip(sizes, shape, strict=True)):
                    return f"profile of {value.name}: {shape} is not {sizes}"
        return ""

    def _time(self, network: INetworkDefinition, config: IBuilderConfig) -> None:
        known = config._cache._values["known"] if config._cache else []
        for kind in sorted({node.op_type for node in network._model.graph.node} - set(known)):
            self._machine.timed += 1
            known.append(kind)

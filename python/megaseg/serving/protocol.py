"""Messages of the Open Inference Protocol (KServe v2, with parameters of NVIDIA's server) over gRPC, and their arrays.

Names, types and numbers are the public protocol's, package ``inference``.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from megaseg.errors import ResourceLimitError
from megaseg.serving.datatypes import DTYPES, NAMES, RAW, from_bytes
from megaseg.serving.errors import RequestError
from megaseg.serving.messages import Messages

SERVICE = "inference.GRPCInferenceService"
_PARAMETERS = "{InferParameter} parameters"
# Of these, the fields that this service fills in.
PARTS = {
    "ModelInput": ("string name", "int32 data_type", "int64* dims = 4", "bool optional = 8"),
    "ModelOutput": ("string name", "int32 data_type", "int64* dims"),
    "ModelConfig": (
        *("string name", "string platform", "int32 max_batch_size = 4"),
        *("ModelInput* input = 5", "ModelOutput* output = 6", "string backend = 17"),
    ),
    "StatisticDuration": ("uint64 count", "uint64 ns"),
    "InferStatistics": ("StatisticDuration success", "StatisticDuration fail", "StatisticDuration compute_infer = 5"),
    "ModelStatistics": (
        *("string name", "string version", "uint64 last_inference", "uint64 inference_count"),
        *("uint64 execution_count", "InferStatistics inference_stats"),
    ),
}
_TENSOR = f"string name, string datatype, int64* shape, {_PARAMETERS}, InferTensorContents contents"
_MESSAGES = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "bool live",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "bool ready",
    "ModelReadyRequest": "string name, string version",
    "ModelReadyResponse": "bool ready",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "string name, string version, string* extensions",
    "ModelMetadataRequest": "string name, string version",
    "ModelMetadataResponse": (
        "string name, string* versions, string platform, "
        "ModelMetadataResponse.TensorMetadata* inputs, ModelMetadataResponse.TensorMetadata* outputs"
    ),
    "ModelMetadataResponse.TensorMetadata": "string name, string datatype, int64* shape",
    "InferParameter": (
        "bool bool_param, int64 int64_param, string string_param, double double_param, uint64 uint64_param"
    ),
    "InferTensorContents": (
        "bool* bool_contents, int32* int_contents, int64* int64_contents, uint32* uint_contents, "
        "uint64* uint64_contents, float* fp32_contents, double* fp64_contents, bytes* bytes_contents"
    ),
    "ModelInferRequest": (
        f"string model_name, string model_version, string id, {_PARAMETERS}, "
        "ModelInferRequest.InferInputTensor* inputs, ModelInferRequest.InferRequestedOutputTensor* outputs, "
        "bytes* raw_input_contents"
    ),
    "ModelInferRequest.InferInputTensor": _TENSOR,
    "ModelInferRequest.InferRequestedOutputTensor": f"string name, {_PARAMETERS}",
    "ModelInferResponse": (
        f"string model_name, string model_version, string id, {_PARAMETERS}, "
        "ModelInferResponse.InferOutputTensor* outputs, bytes* raw_output_contents"
    ),
    "ModelInferResponse.InferOutputTensor": _TENSOR,
    "ModelStreamInferResponse": "string error_message, ModelInferResponse infer_response",
    "ModelRepositoryParameter": "bool bool_param, int64 int64_param, string string_param, bytes bytes_param",
    "RepositoryIndexRequest": "string repository_name, bool ready",
    "RepositoryIndexResponse": "RepositoryIndexResponse.ModelIndex* models",
    "RepositoryIndexResponse.ModelIndex": "string name, string version, string state, string reason",
    "RepositoryModelLoadRequest": "string repository_name, string model_name, {ModelRepositoryParameter} parameters",
    "RepositoryModelLoadResponse": "",
    "RepositoryModelUnloadRequest": "string repository_name, string model_name, {ModelRepositoryParameter} parameters",
    "RepositoryModelUnloadResponse": "",
    "ModelConfigRequest": "string name, string version",
    "ModelConfigResponse": "ModelConfig config",
    **{name: ", ".join(fields) for name, fields in PARTS.items()},
    "ModelStatisticsRequest": "string name, string version",
    "ModelStatisticsResponse": "ModelStatistics* model_stats",
}
# The messages of each method.
METHODS = {
    name: (f"{name}Request", f"{name}Response")
    for name in (
        *("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer"),
        *("ModelConfig", "ModelStatistics"),
        *("RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"),
    )
} | {"ModelStreamInfer": ("ModelInferRequest", "ModelStreamInferResponse")}
_CHOICES = {"InferParameter": "parameter_choice", "ModelRepositoryParameter": "parameter_choice"}  # all fields a oneof
_ALL = Messages("inference", _MESSAGES, _CHOICES)
POOL, message = _ALL.pool, _ALL.message
ModelInferResponse = message("ModelInferResponse")


def parsed(kind: Any, data: bytes) -> Any:
    """A message of a class.

    Raises:
        RequestError: bytes that are none.
    """
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise RequestError(f"message: expected a {kind.DESCRIPTOR.name}, got: {error}") from error


_CONTENTS = {  # typed, else raw
    "FP32": "fp32_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "BOOL": "bool_contents",
}
# Reading these holds Python's interpreter lock: more would hold every other request up.
_MOST_ENTRIES = 256  # tensors or parameters
_MOST_TYPED = 1 << 20  # values outside raw contents


def parameters(entries: Mapping[str, Any]) -> dict[str, Any]:
    """A map of ``InferParameter`` as plain values.

    Raises:
        RequestError: one without a value, or very many.
    """
    _expect_few("parameters", entries)
    values = {}
    for name, entry in entries.items():
        choice = entry.WhichOneof("parameter_choice")
        if choice is None:
            raise RequestError(f"parameter {name:.80}: expected a value, got none")
        values[name] = getattr(entry, choice)
    return values


def sequence_id(request: Any) -> int | str:
    """The sequence that a ``ModelInferRequest`` is of: 0 or empty for none."""
    entry = request.parameters.get("sequence_id")
    return 0 if entry is None else entry.int64_param or entry.string_param


def inputs(request: Any) -> dict[str, NDArray[Any]]:
    """The input tensors of a ``ModelInferRequest`` by name; raw ones are views of the message's own bytes.

    Raises:
        RequestError: a name twice, an unknown datatype, contents that are not of their shape, or of both forms.
        ResourceLimitError: too many values that are not raw.
    """
    _expect_few("inputs", request.inputs)
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise RequestError(f"raw_input_contents: expected one for each of {len(request.inputs)} inputs, got {len(raw)}")
    arrays: dict[str, NDArray[Any]] = {}
    for place, tensor in enumerate(request.inputs):
        if tensor.name in arrays:
            raise RequestError(f"inputs: expected each name once, got {tensor.name:.80} twice")
        _expect_plain("input", tensor)
        arrays[tensor.name] = _array(tensor, raw[place] if raw else None)
    return arrays


def outputs(request: Any) -> tuple[str, ...] | None:
    """The names of the outputs that a ``ModelInferRequest`` asks for; None asks for all."""
    _expect_few("outputs", request.outputs)
    for tensor in request.outputs:
        _expect_plain("output", tensor)
    return tuple(tensor.name for tensor in request.outputs) or None


def _expect_few(kind: str, entries: Collection[Any]) -> None:
    if len(entries) > _MOST_ENTRIES:
        raise RequestError(f"{kind}: expected up to {_MOST_ENTRIES}, got {len(entries)}")


def _expect_plain(kind: str, tensor: Any) -> None:
    if tensor.parameters:
        names = ", ".join(sorted(tensor.parameters))
        expected = "no parameters (shared memory, classification)"
        raise RequestError(f"{kind} {tensor.name:.80}: expected {expected}, got {names:.80}")


def _array(tensor: Any, raw: bytes | None) -> NDArray[Any]:
    shape = tuple(tensor.shape)
    if tensor.datatype not in RAW:
        raise RequestError(f"input {tensor.name:.80}: expected datatype {', '.join(RAW)}, got {tensor.datatype!r:.40}")
    if min(shape, default=0) < 0:
        raise RequestError(f"input {tensor.name:.80}: expected a shape of sizes from 0, got {shape}")
    count = math.prod(shape)
    if raw is None:
        return _typed(tensor, shape, count)
    if tensor.HasField("contents"):
        raise RequestError(f"input {tensor.name:.80}: expected raw or typed contents, got both")
    size = count * RAW[tensor.datatype].itemsize
    if len(raw) != size:
        expected = f"{size} bytes for {tensor.datatype} {shape}"
        raise RequestError(f"input {tensor.name:.80}: expected {expected}, got {len(raw)}")
    return from_bytes(tensor.datatype, raw).reshape(shape)


def _typed(tensor: Any, shape: tuple[int, ...], count: int) -> NDArray[Any]:
    """The values of a tensor's ``contents``."""
    if tensor.datatype not in _CONTENTS:
        raise RequestError(f"input {tensor.name:.80}: expected raw_input_contents for {tensor.datatype}, got contents")
    dtype, field = DTYPES[tensor.datatype], _CONTENTS[tensor.datatype]
    filled = {descriptor.name: values for descriptor, values in tensor.contents.ListFields()}
    if set(filled) - {field}:
        raise RequestError(f"input {tensor.name:.80}: expected {field} for {tensor.datatype}, got {', '.join(filled)}")
    given = filled.get(field, ())
    if len(given) != count:
        raise RequestError(f"input {tensor.name:.80}: expected {count} values for shape {shape}, got {len(given)}")
    if count > _MOST_TYPED:
        raise ResourceLimitError(
            f"input {tensor.name:.80}: expected up to {_MOST_TYPED} values in {field}, got {count}; "
            "send raw_input_contents"
        )
    return np.fromiter(given, dtype, count).reshape(shape)


def response(model: str, version: str, id_: str, arrays: Mapping[str, NDArray[Any]], extras: Mapping[str, Any]) -> Any:
    """A ``ModelInferResponse`` with raw contents."""
    made = ModelInferResponse(model_name=model, model_version=version, id=id_)
    for name, array in arrays.items():
        made.outputs.add(name=name, datatype=NAMES[array.dtype], shape=array.shape)
        made.raw_output_contents.append(array.tobytes())
    for name, value in extras.items():
        # bool before int, which it is one of.
        kinds = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}
        setattr(made.parameters[name], kinds[type(value)], value)
    return made

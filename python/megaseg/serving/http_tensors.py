"""Inference requests and answers over HTTP: JSON, and the protocol's binary tensor extension.

A binary body is JSON of ``Inference-Header-Content-Length`` bytes, then the tensors' values one after another, row
after row and little-endian; ``binary_data_size`` in a tensor's parameters says how many bytes are its own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.errors import ResourceLimitError
from megaseg.serving.datatypes import DTYPES, NAMES, RAW, from_bytes
from megaseg.serving.errors import RequestError
from megaseg.serving.inference import Request, Response
from megaseg.serving.models import VERSION

# Parsing holds Python's interpreter lock: more than this, as JSON, would hold every other request up.
MAX_JSON_BYTES = 16 << 20


class Wanted:
    """Which outputs of a request come as binary."""

    def __init__(self, every: bool, one: Mapping[str, bool]) -> None:
        self._every, self._one = every, one

    def binary(self, output: str) -> bool:
        """Whether an output's values follow the JSON instead of being in it."""
        return self._one.get(output, self._every)


def decode(body: bytes, header_bytes: str | None, model: str, version: str) -> tuple[Request, Wanted]:
    """Read an inference request's body; ``header_bytes`` is the header of that name, None where all is JSON.

    Raises:
        RequestError: names what was expected and what came. ResourceLimitError: too much JSON.
    """
    length = _header_length(header_bytes, len(body))
    values = parse_json(body[:length])
    binary = memoryview(body)[length:]
    inputs: dict[str, NDArray[Any]] = {}
    for tensor in _objects("inputs", values.get("inputs")):
        name = _text("name", tensor)
        if name in inputs:
            raise RequestError(f"inputs: expected different names, got {name!r:.80} twice")
        inputs[name], binary = _tensor(name, tensor, binary)
    if binary:
        raise RequestError(f"binary data: expected none beyond the inputs' binary_data_size, got {len(binary)} bytes")
    outputs, wanted = _outputs(values)
    parameters = _parameters("parameters", values)
    every = _flag("binary_data_output", parameters.pop("binary_data_output", False))
    id_ = _text("id", values, "")
    names = None if outputs is None else tuple(outputs)
    return Request(model, inputs, names, parameters, id_, version, "http"), Wanted(every, wanted)


def parse_json(data: bytes) -> dict[str, Any]:
    """An object from JSON, at every depth without the members that are null; an empty text is an empty one.

    Raises:
        RequestError: not JSON, or not an object. ResourceLimitError: more than ``MAX_JSON_BYTES``.
    """
    if len(data) > MAX_JSON_BYTES:
        raise ResourceLimitError(
            f"body: expected up to {MAX_JSON_BYTES} bytes of JSON, got {len(data)}; send tensors as binary data"
        )
    try:
        value = json.loads(data, object_pairs_hook=_given) if data else {}
    except (ValueError, RecursionError) as error:
        raise RequestError(f"body: expected JSON, got: {error!s:.200}") from error
    if not isinstance(value, dict):
        raise RequestError(f"body: expected a JSON object, got {type(value).__name__}")
    return value


def _given(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in pairs if value is not None}


def encode(response: Response, wanted: Wanted) -> tuple[bytes, int | None]:
    """An answer's body, and the length of its JSON where values follow it."""
    outputs, binary = [], []
    for name, array in response.outputs.items():
        datatype = NAMES[array.dtype]
        tensor: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(array.shape)}
        if wanted.binary(name):
            tensor["parameters"] = {"binary_data_size": array.nbytes}
            binary.append(array.astype(DTYPES[datatype], copy=False).tobytes())
        else:
            tensor["data"] = array.ravel().tolist()
        outputs.append(tensor)
    values: dict[str, Any] = {"model_name": response.model, "model_version": VERSION, "outputs": outputs}
    if response.id:
        values["id"] = response.id
    if response.parameters:
        values["parameters"] = dict(response.parameters)
    head = json.dumps(values).encode()
    return b"".join([head, *binary]), len(head) if binary else None


def _header_length(header: str | None, size: int) -> int:
    if header is None:
        return size
    if not (header.isascii() and header.isdigit()) or int(header[:20]) > size:
        raise RequestError(
            f"Inference-Header-Content-Length: expected up to the body's {size} bytes, got {header!r:.40}"
        )
    return int(header)


def _tensor(name: str, tensor: dict[str, Any], binary: memoryview) -> tuple[NDArray[Any], memoryview]:
    """A tensor, from its ``data`` or from the front of the binary data, and the binary data after it."""
    datatype, shape = _text("datatype", tensor), tensor.get("shape")
    if datatype not in RAW:
        raise RequestError(f"{name}: expected datatype {', '.join(RAW)}, got {datatype!r:.40}")
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape) or len(shape) > 8:
        raise RequestError(f"{name}: expected a shape of sizes from 0, got {shape!r:.80}")
    dtype = RAW[datatype]
    parameters = _parameters(name, tensor)
    size = parameters.pop("binary_data_size", None)
    if parameters:
        raise RequestError(f"{name}: expected no parameter but binary_data_size, got {', '.join(parameters):.80}")
    if size is None and datatype == "BF16":
        raise RequestError(f"{name}: expected {datatype} as binary data, got no binary_data_size")
    if size is None:
        return _from_json(name, tensor.get("data"), datatype, shape), binary
    if "data" in tensor:
        raise RequestError(f"{name}: expected data or binary_data_size, got both")
    if type(size) is not int or size != math.prod(shape) * dtype.itemsize or size > len(binary):
        raise RequestError(
            f"{name}: expected {math.prod(shape) * dtype.itemsize} bytes of binary data for {datatype} {shape!r:.80}, "
            f"got binary_data_size {size!r:.40} and {len(binary)} bytes"
        )
    values = from_bytes(datatype, binary[:size])
    # The JSON before the values may have any length, the kernels want values at multiples of their size.
    return np.require(values, requirements="A").reshape(shape), binary[size:]


def _from_json(name: str, data: Any, datatype: str, shape: list[int]) -> NDArray[Any]:
    dtype = RAW[datatype]
    kinds = {"f": "fiu", "i": "i", "b": "b"}[dtype.kind]  # unsigned: an integer beyond INT64
    if not isinstance(data, list):
        raise RequestError(f"{name}: expected data, a list of values, or binary_data_size, got {data!r:.40}")
    try:
        values = np.array(data) if data else np.empty(0, dtype)
        if values.dtype.kind not in kinds:
            raise ValueError(f"values of type {values.dtype}")
        with np.errstate(over="ignore"):  # becomes Inf, which is refused as such
            cast = values.astype(dtype).reshape(shape)
        if dtype.kind == "i" and not np.array_equal(cast.ravel(), values.ravel()):
            raise ValueError(f"values beyond {datatype}")
        values = cast
        return values.astype(np.float32) if datatype == "FP16" else values
    except (ValueError, OverflowError) as error:
        expected = f"{math.prod(shape)} values of {datatype} for shape {shape!r:.80}"
        raise RequestError(f"{name}: expected {expected}, got: {error!s:.120}") from error


def _outputs(values: dict[str, Any]) -> tuple[list[str] | None, dict[str, bool]]:
    """Names of the outputs wanted, None for all, and which of them say how they want to come."""
    wanted = _objects("outputs", values.get("outputs"))
    names: list[str] = []
    binary: dict[str, bool] = {}
    for output in wanted:
        name = _text("name", output)
        parameters = _parameters(name, output)
        if "binary_data" in parameters:
            binary[name] = _flag("binary_data", parameters.pop("binary_data"))
        if parameters:
            raise RequestError(f"{name}: expected no parameter but binary_data, got {', '.join(parameters):.80}")
        names.append(name)
    return names or None, binary


def _objects(name: str, value: Any) -> list[dict[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise RequestError(f"{name}: expected a list of objects, got {value!r:.80}")
    return value


def _parameters(name: str, owner: dict[str, Any]) -> dict[str, Any]:
    value = owner.get("parameters", {})
    if not isinstance(value, dict):
        raise RequestError(f"parameters of {name}: expected an object, got {value!r:.80}")
    return dict(value)


def _text(name: str, owner: dict[str, Any], default: str | None = None) -> str:
    value = owner.get(name, default)
    if not isinstance(value, str):
        raise RequestError(f"{name}: expected a string, got {value!r:.80}")
    return value


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise RequestError(f"{name}: expected true or false, got {value!r:.80}")
    return value

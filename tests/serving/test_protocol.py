"""The gRPC messages: wire-compatible with NVIDIA's client, field by field, and exact about what they hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("google.protobuf")
service_pb2 = pytest.importorskip("tritonclient.grpc.service_pb2")
model_config_pb2 = pytest.importorskip("tritonclient.grpc.model_config_pb2")

from megaseg.errors import ResourceLimitError  # noqa: E402
from megaseg.serving import protocol  # noqa: E402 (after the packages that it needs)
from megaseg.serving.datatypes import DTYPES  # noqa: E402
from megaseg.serving.errors import RequestError  # noqa: E402

THEIRS = service_pb2.DESCRIPTOR.message_types_by_name
CONFIGS = model_config_pb2.DESCRIPTOR.message_types_by_name


def fields(descriptor: Any) -> dict[str, tuple[object, ...]]:
    """What decides the bytes and the meaning of a message, and of those inside it."""
    found: dict[str, tuple[object, ...]] = {}
    for field in descriptor.fields:
        oneof = field.containing_oneof and field.containing_oneof.name
        kind = field.message_type and field.message_type.full_name
        repeated = field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
        found[field.name] = (field.number, field.type, repeated, kind, oneof)
        if kind and field.message_type.GetOptions().map_entry:
            found[f"{field.name} map"] = tuple(fields(field.message_type).items())
    return found


def nested(descriptors: Any) -> dict[str, Any]:
    found = {}
    for descriptor in descriptors:
        found[descriptor.full_name] = descriptor
        found |= nested(descriptor.nested_types)
    return found


OURS = nested(protocol.POOL.FindFileByName("megaseg/inference.proto").message_types_by_name.values())


PARTS = {f"inference.{name}" for name in protocol.PARTS}


@pytest.mark.parametrize("name", sorted(OURS.keys() - PARTS))
def test_every_message_is_that_of_tritons_client(name: str) -> None:
    theirs = nested(THEIRS.values())[name]
    assert fields(OURS[name]) == fields(theirs)


@pytest.mark.parametrize("name", sorted(PARTS))
def test_messages_filled_in_part_have_those_fields_of_tritons_client(name: str) -> None:
    theirs = fields((nested(THEIRS.values()) | nested(CONFIGS.values()))[name])
    for field, (number, kind, *rest) in fields(OURS[name]).items():
        enum = (theirs[field][1], kind) == (14, 5)  # on the wire an int32
        assert (number, theirs[field][1] if enum else kind, *rest) == theirs[field]


def test_types_have_the_numbers_of_tritons_enum() -> None:
    grpc = pytest.importorskip("megaseg.serving.grpc")
    assert {kind: model_config_pb2.DataType.Value(kind) for kind in grpc._TYPES} == grpc._TYPES
    assert grpc._TYPES.keys() == {f"TYPE_{name}" for name in DTYPES}


def test_every_message_is_there() -> None:
    calls = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name
    for method in protocol.METHODS:
        call = calls[method]
        for kind in (call.input_type, call.output_type):
            assert kind.full_name in OURS
            assert protocol.message(kind.name).DESCRIPTOR.full_name == kind.full_name


def request(**inputs: np.ndarray) -> Any:
    """A request with raw contents, as NVIDIA's client makes it."""
    made = protocol.message("ModelInferRequest")(model_name="m", id="7")
    names = {dtype: name for name, dtype in DTYPES.items()}
    for name, array in inputs.items():
        made.inputs.add(name=name, datatype=names[array.dtype], shape=array.shape)
        made.raw_input_contents.append(array.tobytes())
    return made


@pytest.mark.parametrize(
    ("datatype", "field"), [("FP32", "fp32_contents"), ("INT64", "int64_contents"), ("BOOL", "bool_contents")]
)
def test_tensors_come_as_they_were_sent(datatype: str, field: str) -> None:
    dtype = DTYPES[datatype]
    array = (np.arange(6).reshape(2, 3) % 2).astype(dtype)
    raw = request(x=array)
    got = protocol.inputs(raw)["x"]
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, array)
    typed = protocol.message("ModelInferRequest")()
    tensor = typed.inputs.add(name="x", datatype=datatype, shape=(2, 3))
    getattr(tensor.contents, field).extend(array.ravel().tolist())
    np.testing.assert_array_equal(protocol.inputs(typed)["x"], array)
    assert protocol.inputs(typed)["x"].dtype == dtype


def test_a_byte_that_is_no_bool_is_true() -> None:
    made = request(x=np.zeros(3, bool))
    made.raw_input_contents[0] = b"\x00\x02\x01"
    assert protocol.inputs(made)["x"].tobytes() == b"\x00\x01\x01"


def test_the_response_reads_in_tritons_client() -> None:
    from tritonclient.grpc import InferResult

    arrays = {
        "scores": np.array([0.25, 0.5], np.float32),
        "boundaries": np.array([True, False]),
        "shot": np.array([3, 4]),
        "none": np.zeros((0, 5), np.float32),
    }
    extras = {"final": True, "count": 3, "share": 0.5, "name": "x"}
    sent = protocol.response("m", "1", "7", arrays, extras).SerializeToString()
    got = service_pb2.ModelInferResponse.FromString(sent)
    result = InferResult(got)
    for name, array in arrays.items():
        np.testing.assert_array_equal(result.as_numpy(name), array)
        assert result.as_numpy(name).dtype == array.dtype
    assert (got.model_name, got.model_version, got.id) == ("m", "1", "7")
    assert protocol.parameters(got.parameters) == extras


def test_what_is_wrong_with_a_request_is_said() -> None:
    shots = np.zeros((2, 3), np.float32)

    def refused(change: Any, match: str, call: Any = protocol.inputs) -> None:
        made = request(clip=shots, audio=shots)
        change(made)
        with pytest.raises(RequestError, match=match):
            call(made)

    refused(lambda r: r.raw_input_contents.pop(), r"expected one for each of 2 inputs, got 1")
    refused(lambda r: setattr(r.inputs[1], "name", "clip"), r"each name once, got clip twice")
    refused(
        lambda r: setattr(r.inputs[0], "datatype", "BYTES"),
        r"input clip: expected datatype FP32, INT32, INT64, BOOL, FP16, BF16, got 'BYTES'",
    )
    refused(lambda r: r.inputs[0].shape.append(-1), r"input clip: expected a shape of sizes from 0")
    refused(lambda r: r.inputs[0].shape.append(2**62), r"input clip: expected \d+ bytes for FP32 .*, got 24")
    refused(lambda r: r.inputs[0].contents.fp32_contents.append(1), r"input clip: expected raw or typed contents")
    refused(lambda r: r.inputs[0].parameters["x"].SetInParent(), r"input clip: expected no parameters .* got x")

    def typed(made: Any) -> None:
        del made.raw_input_contents[:]
        made.inputs[0].contents.int_contents.append(1)

    refused(typed, r"input clip: expected fp32_contents for FP32, got int_contents")
    refused(lambda r: r.ClearField("raw_input_contents"), r"input clip: expected 6 values for shape \(2, 3\), got 0")
    large = request()
    large.inputs.add(name="x", datatype="BOOL", shape=(1025, 1024)).contents.bool_contents.extend([True] * 1025 * 1024)
    with pytest.raises(ResourceLimitError, match=r"up to 1048576 values in bool_contents, got 1049600; send raw"):
        protocol.inputs(large)
    many = request()
    for name in range(257):
        many.inputs.add(name=str(name))
        many.outputs.add(name=str(name))
        many.parameters[str(name)].bool_param = True
    for call, what in (
        (protocol.inputs, many),
        (protocol.outputs, many),
        (protocol.parameters, many.parameters),
    ):
        with pytest.raises(RequestError, match=r"(inputs|outputs|parameters): expected up to 256, got 257"):
            call(what)
    asked = request()
    asked.outputs.add(name="scores").parameters["classification"].int64_param = 3
    with pytest.raises(RequestError, match=r"output scores: expected no parameters .* got classification"):
        protocol.outputs(asked)
    asked.parameters["empty"].SetInParent()
    with pytest.raises(RequestError, match=r"parameter empty: expected a value"):
        protocol.parameters(asked.parameters)

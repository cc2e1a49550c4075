"""What clients of NVIDIA's server and of Kubernetes ask besides: configuration, statistics, health, halves, nulls."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from support import random_features, small_config

triton = pytest.importorskip("tritonclient.http")
grpc = pytest.importorskip("grpc")
import tritonclient.grpc as triton_grpc  # noqa: E402
from tritonclient.utils import InferenceServerException  # noqa: E402

from megaseg.serving.datatypes import from_bytes  # noqa: E402


@pytest.fixture
def client(service: Any) -> Iterator[Any]:
    with triton.InferenceServerClient(service.url) as one:
        yield one


@pytest.fixture
def calls(service: Any) -> Iterator[Any]:
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{service.grpc_port}") as one:
        yield one


def body(movie: Any) -> dict[str, Any]:
    tensors = [
        {"name": name, "datatype": "FP32", "shape": list(array.shape), "data": array.ravel().tolist()}
        for name, array in movie.items()
    ]
    return {"inputs": tensors}


def test_head_is_answered_as_get_is_without_a_body(service: Any, start: Any) -> None:
    for path in (
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/scene/ready",
        "/v2/models/scene",
        "/v2",
        "/metrics",
    ):
        got, head = service.http.get(path), service.http.head(path)
        assert (head.status_code, head.content) == (got.status_code, b"") == (200, b"")
        assert head.headers["content-type"] == got.headers["content-type"]
    assert service.http.head("/v2/models/other/ready").status_code == 404
    assert service.http.head("/v2/models/scene/infer").status_code == 405
    guarded = start(token="secret")
    assert guarded.http.head("/v2/health/ready").status_code == 200
    assert guarded.http.head("/v2/models/scene/ready").status_code == 401


def test_null_stands_for_a_member_that_is_left_out(service: Any, movie: Any) -> None:
    plain = body(movie)
    expected = service.http.post("/v2/models/scene/infer", json=plain)
    assert expected.status_code == 200
    nulls: dict[str, Any] = {"id": None, "parameters": None, "outputs": None, "extra": None}
    tensors = [{**tensor, "parameters": None} for tensor in plain["inputs"]]
    nested = {"timeout": None, "sequence_id": None, "threshold": None, "binary_data_output": None}
    for changes in (
        nulls,
        {"inputs": tensors},
        {"parameters": nested},
        {"inputs": [{**tensor, "parameters": {"binary_data_size": None}} for tensor in tensors]},
        {"outputs": [{"name": name, "parameters": None} for name in ("scores", "boundaries", "shot", "final")]},
        {"outputs": [{"name": "scores", "parameters": {"binary_data": None}}]},
    ):
        answer = service.http.post("/v2/models/scene/infer", json={**plain, **changes})
        assert answer.status_code == 200, answer.text
        names = [tensor["name"] for tensor in answer.json()["outputs"]]
        assert answer.json()["outputs"] == [t for t in expected.json()["outputs"] if t["name"] in names]
    for path, content in (
        ("index", {"ready": None}),
        ("models/scene/load", {"parameters": None}),
        ("models/scene/load", {"parameters": {"unload_dependents": None}}),
    ):
        assert service.http.post(f"/v2/repository/{path}", json=content).status_code == 200
    for changes, message in (
        ({"inputs": None}, "inputs: expected clip, audio, times, got none"),
        ({"inputs": [{**plain["inputs"][0], "name": None}]}, "name: expected a string"),
        ({"inputs": [{**plain["inputs"][0], "data": [None]}]}, "clip: expected 390 values"),
    ):
        answer = service.http.post("/v2/models/scene/infer", json={**plain, **changes})
        assert (answer.status_code, message in answer.json()["error"]) == (400, True), answer.text


HALVES = np.arange(1 << 16, dtype=np.uint16)  # every value of either type


def test_halves_are_widened_exactly() -> None:
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(from_bytes("FP16", HALVES.tobytes()), HALVES.view(np.float16).astype(np.float32))
    wide = from_bytes("BF16", HALVES.tobytes())
    assert wide.dtype == np.float32
    np.testing.assert_array_equal(wide.view(np.uint32), HALVES.astype(np.uint32) << 16)


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_halves_are_taken_as_bytes(client: Any, calls: Any, movie: Any, datatype: str) -> None:
    if datatype == "FP16":
        sent = {name: array.astype(np.float16) for name, array in movie.items()}
        wide = {name: array.astype(np.float32) for name, array in sent.items()}
    else:
        bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
        sent = {name: array.astype(bfloat16) for name, array in movie.items()}
        wide = {name: array.astype(np.float32) for name, array in sent.items()}
    answers = []
    for one, own in ((client, triton), (calls, triton_grpc)):
        for kind, arrays in ((datatype, sent), ("FP32", wide)):
            tensors = [own.InferInput(name, array.shape, kind) for name, array in arrays.items()]
            for tensor in tensors:
                tensor.set_data_from_numpy(arrays[tensor.name()])
            answers.append(one.infer("scene", tensors).as_numpy("scores"))
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer, answers[0])


def test_halves_in_json(service: Any, movie: Any) -> None:
    halves = {name: array.astype(np.float16).astype(np.float32) for name, array in movie.items()}
    scores = {}
    for datatype, arrays in (("FP32", halves), ("FP16", movie), ("BF16", movie)):
        plain = body(arrays)
        for tensor in plain["inputs"]:
            tensor["datatype"] = datatype
        answer = service.http.post("/v2/models/scene/infer", json=plain)
        scores[datatype] = answer.json().get("outputs", answer.json().get("error"))
    assert scores["FP16"] == scores["FP32"]
    assert scores["BF16"] == "clip: expected BF16 as binary data, got no binary_data_size"


def test_halves_of_a_wrong_size_are_refused(movie: Any, calls: Any) -> None:
    tensors = [triton_grpc.InferInput(name, array.shape, "FP16") for name, array in movie.items()]
    for tensor in tensors:
        tensor.set_data_from_numpy(movie[tensor.name()].astype(np.float16))
    tensors[0]._raw_content = tensors[0]._raw_content[:-1]
    with pytest.raises(InferenceServerException, match=r"input clip: expected 780 bytes for FP16 \(30, 13\), got 779"):
        calls.infer("scene", tensors)


def test_the_configuration_says_what_the_metadata_says(client: Any, calls: Any) -> None:
    for model in ("scene", "act"):
        config = client.get_model_config(model)
        metadata = client.get_model_metadata(model)
        assert (config["name"], config["platform"], config["max_batch_size"]) == (model, metadata["platform"], 0)
        for key in ("input", "output"):
            described = [(t["name"], t["data_type"].removeprefix("TYPE_"), t["dims"]) for t in config[key]]
            assert described == [(t["name"], t["datatype"], t["shape"]) for t in metadata[f"{key}s"]]
        assert [tensor["name"] for tensor in config["input"] if tensor.get("optional")] == ["times"]
        # Over gRPC enums are names in JSON too, and 64-bit numbers texts.
        other = calls.get_model_config(model, as_json=True)["config"]
        for tensor in (*other["input"], *other["output"]):
            tensor["dims"] = [int(size) for size in tensor["dims"]]
        assert {key: other[key] for key in ("name", "platform", "backend", "input", "output")} == {
            key: config[key] for key in ("name", "platform", "backend", "input", "output")
        }
    assert client.get_model_config("scene", "1")["name"] == "scene"
    for call in (client.get_model_config, calls.get_model_config):
        with pytest.raises(InferenceServerException, match="expected one of scene, act, got 'film'"):
            call("film")


def test_statistics_count_requests_and_batches(start: Any, movie: Any) -> None:
    service = start()
    plain = body(movie)
    for _ in range(3):
        assert service.http.post("/v2/models/scene/infer", json=plain).status_code == 200
    assert service.http.post("/v2/models/scene/infer", json={"inputs": []}).status_code == 400
    with triton.InferenceServerClient(service.url) as client:
        for _ in range(100):  # a batch is counted after its answers are given
            (scene,) = client.get_inference_statistics("scene")["model_stats"]
            if scene["execution_count"] == 3:
                break
            time.sleep(0.05)
        every = client.get_inference_statistics()["model_stats"]
    assert [(own["name"], own["inference_count"]) for own in every] == [("scene", 3), ("act", 0)]
    assert (scene["version"], scene["inference_count"], scene["execution_count"]) == ("1", 3, 3)
    counts = {name: own["count"] for name, own in scene["inference_stats"].items()}
    assert counts == {"success": 3, "fail": 1, "compute_infer": 3}
    assert all(own["ns"] > 0 for own in scene["inference_stats"].values())
    assert scene["last_inference"] > 1.7e12
    assert every[1]["last_inference"] == every[1]["inference_stats"]["success"]["ns"] == 0
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{service.grpc_port}") as calls:
        own = calls.get_inference_statistics("scene").model_stats[0]
        assert (own.inference_count, own.inference_stats.fail.count, own.execution_count) == (3, 1, 3)
        assert own.inference_stats.success.ns == scene["inference_stats"]["success"]["ns"]
        assert [own.name for own in calls.get_inference_statistics().model_stats] == ["scene", "act"]
        with pytest.raises(InferenceServerException, match="got 'film'"):
            calls.get_inference_statistics("film")
        with pytest.raises(InferenceServerException, match="NOT_FOUND"):
            calls.get_inference_statistics("scene", "7")
    both = random_features(small_config(), 30)
    file = io.BytesIO()
    np.savez(file, **both)
    query = {"model": ["scene", "act"]}
    assert service.http.post("/v1/segment", params=query, content=file.getvalue()).status_code == 200
    every = service.http.get("/v2/models/stats").json()["model_stats"]
    assert [own["inference_count"] for own in every] == [4, 1]


def health(channel: Any, method: str) -> Any:
    """A call of ``grpc.health.v1``, of bytes written by hand: field 1 of either message."""
    make = channel.unary_unary if method == "Check" else channel.unary_stream
    return make(
        f"/grpc.health.v1.Health/{method}",
        request_serializer=lambda name: b"\n" + bytes([len(name)]) + name.encode() if name else b"",
        response_deserializer=lambda data: data[1] if data else 0,
    )


NAMES = ("", "inference.GRPCInferenceService")


def test_the_health_of_grpc_is_the_readiness(start: Any) -> None:
    service = start(token="secret")
    with grpc.insecure_channel(f"127.0.0.1:{service.grpc_port}") as channel:
        check = health(channel, "Check")
        assert [check(name, timeout=10) for name in NAMES] == [1, 1]  # SERVING
        with pytest.raises(grpc.RpcError) as error:
            check("other", timeout=10)
        assert error.value.code() is grpc.StatusCode.NOT_FOUND


def test_watchers_are_told_when_the_service_ends(start: Any) -> None:
    service = start()
    with grpc.insecure_channel(f"127.0.0.1:{service.grpc_port}") as channel:
        watches = {name: health(channel, "Watch")(name, timeout=30) for name in (*NAMES, "other")}
        assert [next(watch) for watch in watches.values()] == [1, 1, 3]  # SERVICE_UNKNOWN
        done = threading.Event()
        seen: dict[str, list[int]] = {}

        def read() -> None:
            for name, watch in watches.items():
                seen[name] = []
                try:
                    seen[name].extend(watch)
                except grpc.RpcError as error:
                    seen[name].append(error.code().name)  # type: ignore[attr-defined]
            done.set()

        thread = threading.Thread(target=read)
        thread.start()
        service.stop()
        assert done.wait(9), "watchers hold the service up"
        thread.join()
    assert seen == {"": [2, "UNAVAILABLE"], NAMES[1]: [2, "UNAVAILABLE"], "other": ["UNAVAILABLE"]}


def test_watchers_are_bounded(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megaseg.serving.health._MOST", 1)
    service = start()
    with grpc.insecure_channel(f"127.0.0.1:{service.grpc_port}") as channel:
        watch = health(channel, "Watch")
        first = watch("", timeout=30)
        assert next(first) == 1
        with pytest.raises(grpc.RpcError) as error:
            next(watch("", timeout=30))
        assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        first.cancel()


def test_null_is_allowed_by_the_document(service: Any) -> None:
    schemas = service.http.get("/openapi.json").json()["components"]["schemas"]
    request = schemas["inference_request"]["properties"]
    assert all({"type": "null"} in request[name]["anyOf"] for name in ("id", "outputs", "parameters"))
    assert "anyOf" not in request["inputs"]
    assert "null" not in json.dumps(schemas["inference_response"])

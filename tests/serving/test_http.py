"""The Open Inference Protocol over HTTP, with tritonclient as the client."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from support import random_features, small_config

triton = pytest.importorskip("tritonclient.http")
from tritonclient.utils import InferenceServerException, np_to_triton_dtype  # noqa: E402

CONFIG = small_config()


@pytest.fixture
def client(service: Any) -> Iterator[Any]:
    with triton.InferenceServerClient(service.url) as one:
        yield one


def inputs(arrays: dict[str, np.ndarray], binary: bool = True) -> list[Any]:
    tensors = []
    for name, array in arrays.items():
        tensor = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        tensors.append(tensor.set_data_from_numpy(array, binary_data=binary))
    return tensors


def wanted(names: Sequence[str], binary: bool) -> list[Any]:
    return [triton.InferRequestedOutput(name, binary_data=binary) for name in names]


def test_health_and_metadata(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("scene")
    assert client.is_model_ready("scene", "1")
    assert not client.is_model_ready("scene", "2")
    assert not client.is_model_ready("other")
    assert client.get_server_metadata()["name"] == "megaseg"
    scene, act = client.get_model_metadata("scene"), client.get_model_metadata("act", "1")
    assert scene["versions"] == ["1"]
    assert {tensor["name"]: (tensor["datatype"], tensor["shape"]) for tensor in scene["inputs"]} == {
        "clip": ("FP32", [-1, 13]),
        "audio": ("FP32", [-1, 7]),
        "times": ("INT64", [-1, 2]),
    }
    assert [tensor["name"] for tensor in scene["outputs"]] == ["scores", "boundaries", "shot", "final"]
    assert {tensor["name"]: (tensor["datatype"], tensor["shape"]) for tensor in act["outputs"]} == {
        "scores": ("FP32", [-1, 5]),
        "turning_points": ("INT64", [5]),
        "boundaries": ("BOOL", [-1]),
    }


@pytest.mark.parametrize("sent", [True, False], ids=["binary in", "JSON in"])
@pytest.mark.parametrize("got", [True, False], ids=["binary out", "JSON out"])
def test_scenes_equal_the_engine(client: Any, engines: Any, movie: Any, sent: bool, got: bool) -> None:
    outputs = wanted(["boundaries", "scores"], got)
    result = client.infer("scene", inputs(movie, sent), outputs=outputs, request_id="a movie")
    expected = engines["scene"].segment(movie)
    np.testing.assert_array_equal(result.as_numpy("scores"), expected.scores, strict=True)
    np.testing.assert_array_equal(np.flatnonzero(result.as_numpy("boundaries")), expected.boundaries)
    assert result.get_response()["id"] == "a movie"
    assert result.as_numpy("shot") is None


def test_all_outputs_and_a_mixed_answer(client: Any, movie: Any) -> None:
    every = client.infer("scene", inputs(movie))
    np.testing.assert_array_equal(every.as_numpy("shot"), np.arange(30))
    assert every.as_numpy("final").all()
    mixed = client.infer("scene", inputs(movie), outputs=[*wanted(["scores"], True), *wanted(["boundaries"], False)])
    np.testing.assert_array_equal(mixed.as_numpy("scores"), every.as_numpy("scores"))
    np.testing.assert_array_equal(mixed.as_numpy("boundaries"), every.as_numpy("boundaries"))


def test_acts_equal_the_engine(client: Any, engines: Any, movie: Any) -> None:
    result = client.infer("act", inputs(movie), parameters={"ordered": False})
    expected = engines["act"].segment(movie, ordered=False)
    np.testing.assert_array_equal(result.as_numpy("scores"), expected.scores, strict=True)
    points = [point.shot for point in expected.turning_points]
    np.testing.assert_array_equal(result.as_numpy("turning_points"), points)
    np.testing.assert_array_equal(np.flatnonzero(result.as_numpy("boundaries")), expected.boundaries)


def test_decisions_times_and_deadline_are_parameters(client: Any, engines: Any, movie: Any) -> None:
    times = np.stack([np.arange(30), np.arange(1, 31)], axis=1)
    result = client.infer(
        "scene",
        inputs({**movie, "times": times}),
        timeout=60_000_000,
        parameters={"num_scenes": 4, "min_scene_length": 2, "time_base": "1/24"},
    )
    expected = engines["scene"].segment(movie, num_scenes=4, min_scene_length=2)
    np.testing.assert_array_equal(np.flatnonzero(result.as_numpy("boundaries")), expected.boundaries)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_a_compressed_request(client: Any, engines: Any, movie: Any, algorithm: str) -> None:
    result = client.infer("scene", inputs(movie), request_compression_algorithm=algorithm)
    np.testing.assert_array_equal(result.as_numpy("scores"), engines["scene"].segment(movie).scores)


def test_a_large_request_is_read_in_a_thread_and_equals_the_engine(client: Any, engines: Any) -> None:
    movie = random_features(CONFIG, 9000)
    result = client.infer("scene", inputs(movie))
    np.testing.assert_array_equal(result.as_numpy("scores"), engines["scene"].segment(movie).scores)


@pytest.mark.parametrize("name", [7, "a live channel"])
def test_a_sequence_equals_the_whole_movie(client: Any, engines: Any, movie: Any, name: int | str) -> None:
    shots, scores, boundaries = [], [], []
    sizes = [1, 2, 9, 1, 17]
    for index, end in enumerate(np.cumsum(sizes)):
        part = {key: array[end - sizes[index] : end] for key, array in movie.items()}
        result = client.infer(
            "scene",
            inputs(part),
            sequence_id=name,
            sequence_start=index == 0,
            sequence_end=index == len(sizes) - 1,
        )
        assert result.get_response()["parameters"] == {"sequence_id": name}
        assert result.as_numpy("final").all()
        shots += result.as_numpy("shot").tolist()
        scores.append(result.as_numpy("scores"))
        boundaries += result.as_numpy("shot")[result.as_numpy("boundaries")].tolist()
    expected = engines["scene"].segment(movie)
    assert shots == list(range(30))
    np.testing.assert_array_equal(np.concatenate(scores), expected.scores, strict=True)
    assert boundaries == expected.boundaries.tolist()


def test_provisional_decisions_and_an_end_without_shots(client: Any, engines: Any, movie: Any) -> None:
    first = client.infer(
        "scene", inputs(movie), sequence_id=1, sequence_start=True, parameters={"provisional": True, "threshold": 0.9}
    )
    final = first.as_numpy("final")
    assert final.tolist() == [True] * 28 + [False] * 2  # the model looks two shots ahead
    last = client.infer("scene", [], sequence_id=1, sequence_end=True)
    scores = np.concatenate([first.as_numpy("scores")[final], last.as_numpy("scores")])
    boundaries = np.concatenate([first.as_numpy("boundaries")[final], last.as_numpy("boundaries")])
    expected = engines["scene"].segment(movie, threshold=0.9)
    np.testing.assert_array_equal(scores, expected.scores)
    np.testing.assert_array_equal(np.flatnonzero(boundaries), expected.boundaries)


def test_a_new_start_ends_the_sequence_before_it(client: Any, engines: Any, movie: Any) -> None:
    client.infer("scene", inputs(movie), sequence_id=2, sequence_start=True)
    result = client.infer("scene", inputs(movie), sequence_id=2, sequence_start=True, sequence_end=True)
    np.testing.assert_array_equal(result.as_numpy("scores"), engines["scene"].segment(movie).scores)


def test_a_refused_push_leaves_the_sequence_as_it_was(client: Any, engines: Any, movie: Any) -> None:
    front, rest = ({name: array[part] for name, array in movie.items()} for part in (slice(0, 9), slice(9, 30)))
    broken = {name: np.full_like(array, np.nan) for name, array in front.items()}
    with pytest.raises(InferenceServerException, match="finite"):
        client.infer("scene", inputs(broken), sequence_id=3, sequence_start=True)
    with pytest.raises(InferenceServerException, match="never started"):  # a start that was refused is none
        client.infer("scene", inputs(front), sequence_id=3)
    first = client.infer("scene", inputs(front), sequence_id=3, sequence_start=True)
    with pytest.raises(InferenceServerException, match="finite"):
        client.infer("scene", inputs(broken), sequence_id=3)
    last = client.infer("scene", inputs(rest), sequence_id=3, sequence_end=True)
    scores = np.concatenate([first.as_numpy("scores"), last.as_numpy("scores")])
    np.testing.assert_array_equal(scores, engines["scene"].segment(movie).scores)


def test_repository(start: Any, movie: Any) -> None:
    service = start()
    with triton.InferenceServerClient(service.url) as client:
        states = {entry["name"]: entry["state"] for entry in client.get_model_repository_index()}
        assert states == {"scene": "READY", "act": "READY"}
        client.infer("scene", inputs(movie), sequence_id=5, sequence_start=True)
        client.unload_model("scene")
        assert not client.is_model_ready("scene")
        assert client.is_server_ready()
        with pytest.raises(InferenceServerException, match="unloaded") as error:
            client.infer("scene", inputs(movie))
        assert error.value.status() == "503"
        assert [entry["state"] for entry in client.get_model_repository_index()] == ["UNAVAILABLE", "READY"]
        assert [entry["name"] for entry in service.http.post("/v2/repository/index", json={"ready": True}).json()] == [
            "act"
        ]
        assert service.metrics()["megaseg_streams_open", ()] == 0
        client.load_model("scene")
        client.load_model("scene")  # again: read anew
        client.infer("scene", inputs(movie))
        with pytest.raises(InferenceServerException, match="sequence 5") as error:  # it went with its model
            client.infer("scene", inputs(movie), sequence_id=5)
        assert error.value.status() == "409"


def test_a_client_never_names_files(client: Any) -> None:
    for call in (
        lambda: client.load_model("../../etc/passwd"),
        lambda: client.load_model("scene", config="{}"),
        lambda: client.load_model("scene", config="{}", files={"file:1/model.safetensors": b"weights"}),
        lambda: client.unload_model("other"),
    ):
        with pytest.raises(InferenceServerException) as error:
            call()
        assert error.value.status() in ("400", "404")


def body(movie: Any, **changes: Any) -> dict[str, Any]:
    tensors = [
        {"name": name, "datatype": "FP32", "shape": list(array.shape), "data": array.ravel().tolist()}
        for name, array in movie.items()
    ]
    return {"inputs": tensors, **changes}


def tensor(movie: Any, **changes: Any) -> dict[str, Any]:
    """A body whose first tensor is changed; a value of None takes the key away."""
    whole = body(movie)
    changed = {**whole["inputs"][0], **changes}
    whole["inputs"][0] = {key: value for key, value in changed.items() if value is not None}
    return whole


BAD_TENSORS: dict[str, dict[str, Any]] = {
    "datatype": {"datatype": "BF16"},
    "no datatype": {"datatype": None},
    "shape of text": {"shape": "30"},
    "negative shape": {"shape": [-1, 13]},
    "another shape": {"shape": [29, 13]},
    "another width": {"shape": [15, 26]},
    "text": {"data": ["1"] * 390},
    "booleans": {"data": [True] * 390},
    "ragged": {"data": [[1.0], [1.0, 2.0]]},
    "null": {"data": [None] * 390},
    "beyond float32": {"data": [1e300] * 390},
    "no data": {"data": None},
    "another name": {"name": "video"},
    "name of a number": {"name": 1},
    "twice": {"name": "audio"},
    "data and binary": {"parameters": {"binary_data_size": 1560}},
    "shared memory": {"parameters": {"shared_memory_region": "x"}},
    "parameters of text": {"parameters": "x"},
    "binary beyond the body": {"data": None, "parameters": {"binary_data_size": 1560}},
    "binary of another size": {"data": None, "parameters": {"binary_data_size": 4}},
    "binary of text": {"data": None, "parameters": {"binary_data_size": "4"}},
}


@pytest.mark.parametrize("changes", BAD_TENSORS.values(), ids=BAD_TENSORS)
def test_a_bad_tensor_is_refused(service: Any, movie: Any, changes: dict[str, Any]) -> None:
    answer = service.http.post("/v2/models/scene/infer", json=tensor(movie, **changes))
    assert answer.status_code == 400, answer.text
    assert set(answer.json()) == {"error"}


PARAMETERS = [
    {"treshold": 0.5},
    {"threshold": "0.5"},
    {"threshold": True},
    {"threshold": -1},
    {"threshold": 2},
    {"num_scenes": 31},
    {"num_scenes": 1.5},
    {"timeout": -1},
    {"timeout": 10**400},
    {"timeout": "soon"},
    {"time_base": 1},
    {"provisional": True},
    {"sequence_id": -3, "sequence_start": True},
    {"sequence_id": 1.5, "sequence_start": True},
    {"sequence_id": 1, "sequence_start": "yes"},
    {"sequence_id": 1, "sequence_start": True, "num_scenes": 3},
    {"binary_data_output": 1},
]


@pytest.mark.parametrize("parameters", PARAMETERS, ids=map(str, PARAMETERS))
def test_a_bad_parameter_is_refused(service: Any, movie: Any, parameters: dict[str, Any]) -> None:
    answer = service.http.post("/v2/models/scene/infer", json=body(movie, parameters=parameters))
    assert answer.status_code == 400, answer.text
    assert service.metrics()["megaseg_streams_open", ()] == 0


BODIES = [
    b"",
    b"{",
    b"[]",
    b'{"inputs": 1}',
    b'{"inputs": [1]}',
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"inputs": [], "id": 1}',
    b'{"inputs": [], "parameters": {"sequence_id": 9, "sequence_start": true}}',
    b'{"inputs": [{"name": "clip", "datatype": "INT64", "shape": [1], "data": [18446744073709551615]}]}',
    b'{"inputs": [{"name": "clip", "datatype": "INT64", "shape": [1], "data": [1.5]}]}',
]


@pytest.mark.parametrize("content", BODIES, ids=[repr(content[:40]) for content in BODIES])
def test_a_bad_body_is_refused(service: Any, content: bytes) -> None:
    answer = service.http.post("/v2/models/scene/infer", content=content)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "99999999999999999999", "٣"])
def test_a_bad_length_of_the_header_is_refused(service: Any, movie: Any, length: str) -> None:
    headers = {"Inference-Header-Content-Length": length.encode()}
    answer = service.http.post("/v2/models/scene/infer", json=body(movie), headers=headers)
    assert answer.status_code == 400, answer.text


def test_binary_data_that_no_input_claims_is_refused(service: Any, movie: Any) -> None:
    head = json.dumps(body(movie)).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    answer = service.http.post("/v2/models/scene/infer", content=head + b"more", headers=headers)
    assert answer.status_code == 400
    assert "4 bytes" in answer.json()["error"]


def test_each_error_has_its_status(service: Any, movie: Any) -> None:
    def status(path: str, **changes: Any) -> int:
        answer = service.http.post(path, json=body(movie, **changes))
        assert answer.json()["error"]
        return int(answer.status_code)

    assert status("/v2/models/other/infer") == 404
    assert status("/v2/models/scene/versions/2/infer") == 404
    assert status("/v2/models/scene/infer", outputs=[{"name": "turning_points"}]) == 400
    assert status("/v2/models/scene/infer", outputs=[{"name": "scores", "parameters": {"classification": 3}}]) == 400
    assert status("/v2/models/scene/infer", parameters={"sequence_id": 4}) == 409
    assert status("/v2/models/act/infer", parameters={"sequence_id": 4, "sequence_start": True}) == 501
    assert status("/v2/models/scene/infer", inputs=[]) == 400
    assert status("/v2/nowhere") == 404
    assert status("/v2/health/live") == 405


def test_the_next_request_after_an_error_is_answered(client: Any, movie: Any) -> None:
    for _ in range(3):
        with pytest.raises(InferenceServerException):
            client.infer("other", inputs(movie))
        client.infer("scene", inputs(movie))

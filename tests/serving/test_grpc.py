"""The gRPC service, with NVIDIA's own client: what it answers, what it refuses, and how it ends."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

grpc = pytest.importorskip("grpc")
pytest.importorskip("tritonclient.grpc")
pytest.importorskip("prometheus_client")
from grpc_service import Service, connected, movie, running, tensors  # noqa: E402 (after the packages that it needs)
from tritonclient.grpc import InferRequestedOutput, service_pb2, service_pb2_grpc  # noqa: E402
from tritonclient.utils import InferenceServerException  # noqa: E402

from megaseg import Engine, __version__  # noqa: E402
from megaseg.serving.grpc import start  # noqa: E402


@pytest.fixture
def service() -> Iterator[Service]:
    with running() as service:
        yield service


@pytest.fixture
def client(service: Service) -> Iterator[Any]:
    with connected(service) as client:
        yield client


def expect_same(result: Any, engine: Engine, features: Any, **decision: Any) -> None:
    want = engine.segment(features, **decision)
    assert result.as_numpy("scores").tobytes() == want.scores.tobytes()
    np.testing.assert_array_equal(np.flatnonzero(result.as_numpy("boundaries")), want.boundaries)
    assert result.as_numpy("boundaries").shape == (len(want.scores),)
    if want.task == "act":
        points = [point.shot for point in want.turning_points]
        np.testing.assert_array_equal(result.as_numpy("turning_points"), points)


def refused(code: str, match: str | None, call: Any, *arguments: Any, **options: Any) -> None:
    with pytest.raises(InferenceServerException, match=match) as error:
        call(*arguments, **options)
    assert error.value.status() == f"StatusCode.{code}"


@pytest.mark.parametrize("task", ["scene", "act"])
def test_infer_is_the_engines_segment(task: str, service: Service, client: Any) -> None:
    engine = service.engines[task]
    for seed, shots in enumerate((30, 7)):
        features = movie(task, shots, seed)
        result = client.infer(task, tensors(features), request_id=str(seed), model_version="1")
        expect_same(result, engine, features)
        response = result.get_response()
        assert (response.model_name, response.model_version, response.id) == (task, "1", str(seed))
    features = movie(task)
    times = np.arange(60, dtype=np.int64).reshape(30, 2)
    timed = client.infer(task, tensors({**features, "times": times}), parameters={"time_base": "1/24"})
    expect_same(timed, engine, features)
    for compression in ("gzip", "deflate"):
        expect_same(client.infer(task, tensors(features), compression_algorithm=compression), engine, features)
    wanted = client.infer(task, tensors(features), outputs=[InferRequestedOutput("boundaries")])
    assert [output.name for output in wanted.get_response().outputs] == ["boundaries"]


def test_parameters_decide(service: Service, client: Any) -> None:
    features = movie()
    for decision in ({"num_scenes": 4}, {"threshold": 0.3}, {"min_scene_length": 3, "threshold": 0.1}):
        result = client.infer("scene", tensors(features), parameters=decision, timeout=60_000_000)
        expect_same(result, service.engines["scene"], features, **decision)


def test_typed_contents_and_raw_ones_are_the_same(service: Service) -> None:
    features = movie()
    request = service_pb2.ModelInferRequest(model_name="scene", id="typed")
    for name, array in features.items():
        tensor = request.inputs.add(name=name, datatype="FP32", shape=array.shape)
        tensor.contents.fp32_contents.extend(array.ravel().tolist())
    with grpc.insecure_channel(service.address) as channel:
        response = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request)
    scores = np.frombuffer(response.raw_output_contents[0], np.float32)
    assert response.outputs[0].name == "scores"
    assert scores.tobytes() == service.engines["scene"].segment(features).scores.tobytes()


def test_health_and_metadata(service: Service, client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("scene", "1")
    about = client.get_server_metadata()
    assert (about.name, about.version) == ("megaseg", __version__)
    extensions = ["model_configuration", "model_repository", "parameters", "sequence", "statistics"]
    assert list(about.extensions) == extensions
    model = client.get_model_metadata("act")
    assert (model.name, list(model.versions), model.platform) == ("act", ["1"], "megaseg")
    inputs = {tensor.name: (tensor.datatype, list(tensor.shape)) for tensor in model.inputs}
    assert inputs == {"clip": ("FP32", [-1, 13]), "audio": ("FP32", [-1, 7]), "times": ("INT64", [-1, 2])}
    outputs = {tensor.name: (tensor.datatype, list(tensor.shape)) for tensor in model.outputs}
    assert outputs == {"scores": ("FP32", [-1, 5]), "turning_points": ("INT64", [5]), "boundaries": ("BOOL", [-1])}
    refused("NOT_FOUND", r"got 'film'", client.is_model_ready, "film")
    refused("NOT_FOUND", r"version of model 'act': expected '1', got '2'", client.get_model_metadata, "act", "2")
    refused("UNIMPLEMENTED", None, client.get_trace_settings, "scene")


def test_models_are_loaded_and_unloaded_by_name_alone(service: Service, client: Any) -> None:
    client.unload_model("act")
    assert not client.is_model_ready("act")
    refused("UNAVAILABLE", r"model 'act': expected a loaded model", client.infer, "act", tensors(movie("act")))
    index = {model.name: (model.version, model.state) for model in client.get_model_repository_index().models}
    assert index == {"scene": ("1", "READY"), "act": ("1", "UNAVAILABLE")}
    client.load_model("act")
    expect_same(client.infer("act", tensors(movie("act"))), service.engines["act"], movie("act"))
    refused("NOT_FOUND", r"got '/etc/passwd'", client.load_model, "/etc/passwd")
    files = {"file:1/model.onnx": b"x"}
    refused(
        "INVALID_ARGUMENT",
        r"parameters: expected none .* got config, file:1",
        client.load_model,
        "act",
        config="{}",
        files=files,
    )
    with grpc.insecure_channel(service.address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        ready = stub.RepositoryIndex(service_pb2.RepositoryIndexRequest(ready=True))
        assert [model.name for model in ready.models] == ["scene", "act"]
        with pytest.raises(grpc.RpcError, match=r"repository_name: expected none, got 'models'"):
            stub.RepositoryIndex(service_pb2.RepositoryIndexRequest(repository_name="models"))


def test_what_is_wrong_with_a_request_is_said(service: Service, client: Any) -> None:
    good = movie()
    wide = {**good, "clip": np.zeros((30, 14), np.float32)}
    integers = {**good, "clip": np.zeros((30, 13), np.int32)}
    broken = {**good, "clip": np.full((30, 13), np.nan, np.float32)}
    shorter = {**good, "audio": good["audio"][:-1]}

    def bad(code: str, match: str, arrays: Any = good, model: str = "scene", **options: Any) -> None:
        refused(code, match, client.infer, model, tensors(arrays), **options)

    bad("NOT_FOUND", r"model: expected one of scene, act, got 'film'", model="film")
    bad("NOT_FOUND", r"version of model 'scene'", model_version="3")
    bad("INVALID_ARGUMENT", r"inputs: expected clip, audio", {"clip": good["clip"]})
    bad("INVALID_ARGUMENT", r"clip: expected FP32 \[shots, 13\]", wide)
    bad("INVALID_ARGUMENT", r"clip: expected FP32 \[shots, 13\], got int32", integers)
    bad("INVALID_ARGUMENT", r"clip: expected finite values, got NaN or Inf at shot 0", broken)
    bad("INVALID_ARGUMENT", r"same number of shots", shorter)
    bad("INVALID_ARGUMENT", r"outputs: expected some of", outputs=[InferRequestedOutput("logits")])
    bad("INVALID_ARGUMENT", r"no parameters .*classification", outputs=[InferRequestedOutput("scores", class_count=2)])
    bad("INVALID_ARGUMENT", r"num_scenes: expected 1 to 30", parameters={"num_scenes": 31})
    bad("INVALID_ARGUMENT", r"parameters: expected .* got 'colour'", parameters={"colour": "red"})
    bad("FAILED_PRECONDITION", r"expected an open one", sequence_id=7)
    bad("UNIMPLEMENTED", r"expected a scene model", movie("act"), model="act", sequence_id=7, sequence_start=True)
    bad("RESOURCE_EXHAUSTED", r"shots: expected up to 500 a request, got 501", movie(shots=501))
    with grpc.insecure_channel(service.address) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError, match=r"message: expected a ModelInferRequest") as error:
            call(b"\xff\xff\xff")
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    expect_same(client.infer("scene", tensors(good)), service.engines["scene"], good)
    assert b'outcome="bad_request",protocol="grpc"' in service.inference.metrics.text()


def test_an_error_that_nobody_expected_tells_a_client_nothing(service: Service, client: Any) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("a secret")

    service.gates["scene"].run = broken  # type: ignore[attr-defined]
    refused(
        "INTERNAL",
        r"^\[StatusCode.INTERNAL\] internal error; the server's log has it$",
        client.infer,
        "scene",
        tensors(movie()),
    )


def test_messages_have_a_largest_size() -> None:
    with running(max_bytes=4000) as service, connected(service) as client:
        expect_same(client.infer("scene", tensors(movie())), service.engines["scene"], movie())
        refused("RESOURCE_EXHAUSTED", r"larger than max", client.infer, "scene", tensors(movie(shots=80)))
        zeros = {name: np.zeros_like(array) for name, array in movie(shots=400).items()}
        refused(
            "RESOURCE_EXHAUSTED",
            r"larger than max",
            client.infer,
            "scene",
            tensors(zeros),
            compression_algorithm="gzip",
        )


def test_a_full_queue_refuses_at_once() -> None:
    with running(max_queue=1) as service, connected(service) as client:
        service.gates["scene"].shut()
        first: Future[Any] = Future()
        client.async_infer("scene", tensors(movie()), lambda result, error: first.set_result((result, error)))
        assert service.gates["scene"].entered.wait(30)
        refused("RESOURCE_EXHAUSTED", r"queue: 1 requests are waiting", client.infer, "scene", tensors(movie()))
        service.gates["scene"].open.set()
        result, error = first.result(30)
        assert error is None
        expect_same(result, service.engines["scene"], movie())


def test_the_token_opens_all_but_health() -> None:
    with running(token="open sesame".replace(" ", "-")) as service, connected(service) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        for headers in (None, {"authorization": "Bearer open"}, {"authorization": "open-sesame"}):
            bad = {"headers": headers}
            refused("UNAUTHENTICATED", r"authorization: expected", client.infer, "scene", tensors(movie()), **bad)
            refused("UNAUTHENTICATED", r"authorization", client.is_model_ready, "scene", **bad)
            refused("UNAUTHENTICATED", r"authorization", client.unload_model, "scene", **bad)
        answers: Future[Any] = Future()
        client.start_stream(lambda result, error: answers.set_result(error))
        assert answers.result(30).status() == "StatusCode.UNAUTHENTICATED"
        client.stop_stream()
        headers = {"authorization": "Bearer open-sesame"}
        expect_same(client.infer("scene", tensors(movie()), headers=headers), service.engines["scene"], movie())


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_tls(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(["openssl", "req", "-x509", "-nodes", *curve, *made], check=True, capture_output=True)
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    with running(credentials=credentials) as service:
        with connected(service, ssl=True, root_certificates=str(certificate)) as client:
            expect_same(client.infer("scene", tensors(movie())), service.engines["scene"], movie())
        with connected(service) as client:
            refused("UNAVAILABLE", None, client.is_server_live, client_timeout=20)


def test_an_address_in_use_is_an_error(service: Service) -> None:
    with pytest.raises(OSError, match=rf"gRPC cannot listen on {service.address}"):
        service.call(start(service.inference, service.models, address=service.address, max_bytes=1))


def test_a_client_that_gives_up_cancels_its_request(service: Service, client: Any) -> None:
    gate, scheduler = service.gates["scene"], service.schedulers["scene"]
    gate.shut()
    first: Future[Any] = Future()
    client.async_infer("scene", tensors(movie()), lambda result, error: first.set_result((result, error)))
    assert gate.entered.wait(30)  # the batch that runs; the next three wait
    left: Future[Any] = Future()
    call = client.async_infer("scene", tensors(movie()), lambda result, error: left.set_result(error))
    refused("DEADLINE_EXCEEDED", None, client.infer, "scene", tensors(movie()), client_timeout=0.2)
    while scheduler.stats().queued < 3:
        refused("DEADLINE_EXCEEDED", None, client.infer, "scene", tensors(movie()), client_timeout=0.05)
    call.cancel()
    assert left.result(30).status() == "StatusCode.CANCELLED"
    refused("NOT_FOUND", r"film", client.infer, "film", tensors(movie()))  # a round trip after the cancellation
    gate.open.set()
    result, error = first.result(30)
    assert error is None
    expect_same(result, service.engines["scene"], movie())
    scheduler.close()  # what it has accepted is finished or gone
    stats = scheduler.stats()
    assert stats.completed == 1
    assert stats.cancelled + stats.expired == stats.accepted - 1 >= 2
    assert stats.queued == 0


def test_a_request_that_is_too_late_says_so(service: Service, client: Any) -> None:
    refused("DEADLINE_EXCEEDED", r"deadline", client.infer, "scene", tensors(movie()), timeout=1)  # a microsecond
    expect_same(client.infer("scene", tensors(movie())), service.engines["scene"], movie())


def test_the_nearer_deadline_reaches_the_scheduler(service: Service, client: Any, monkeypatch: Any) -> None:
    seen: list[Any] = []
    infer = service.inference.infer

    async def spy(request: Any) -> Any:
        seen.append(request.parameters.get("timeout"))
        return await infer(request)

    monkeypatch.setattr(service.inference, "infer", spy)
    for timeout, client_timeout in ((None, None), (None, 20), (0, 20), (30_000_000, 20), (5_000_000, 20)):
        client.infer("scene", tensors(movie()), timeout=timeout, client_timeout=client_timeout)
    assert seen[0] is None
    assert all(15_000_000 < microseconds < 25_000_000 for microseconds in seen[1:4])
    assert seen[4] == 5_000_000


def test_a_model_in_use_is_unloaded_after_its_answers(service: Service, client: Any) -> None:
    gate = service.gates["scene"]
    gate.shut()
    answers: list[Future[Any]] = [Future() for _ in range(5)]
    for seed, answer in enumerate(answers):
        features = tensors(movie(seed=seed))
        client.async_infer("scene", features, lambda result, error, answer=answer: answer.set_result((result, error)))
    while service.schedulers["scene"].stats().accepted < 5:
        client.is_server_live()
    with grpc.insecure_channel(service.address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        unload = stub.RepositoryModelUnload.future(service_pb2.RepositoryModelUnloadRequest(model_name="scene"))
        while client.is_model_ready("scene"):
            pass
        assert not unload.done()
        refused("UNAVAILABLE", r"expected a loaded model", client.infer, "scene", tensors(movie()))
        gate.open.set()
        unload.result(30)
    for seed, answer in enumerate(answers):
        result, error = answer.result(30)
        assert error is None
        expect_same(result, service.engines["scene"], movie(seed=seed))


def is_live(client: Any) -> bool:
    try:
        return bool(client.is_server_live(client_timeout=5))
    except InferenceServerException:
        return False


def test_stopping_finishes_what_was_accepted(client: Any, service: Service) -> None:
    gate = service.gates["scene"]
    gate.shut()
    answer: Future[Any] = Future()
    client.async_infer("scene", tensors(movie()), lambda result, error: answer.set_result((result, error)))
    streamed: list[Any] = []
    ended: Future[Any] = Future()

    def on_stream(result: Any, error: Any) -> None:
        streamed.append(result) if error is None else ended.set_result(error)

    client.start_stream(on_stream)
    client.async_stream_infer("scene", tensors(movie(seed=1)))
    while service.schedulers["scene"].stats().accepted < 2:
        client.is_server_live()
    stopping: Future[Any] = Future()

    def stop() -> None:
        task = asyncio.ensure_future(service.server.stop(30))
        task.add_done_callback(lambda _: stopping.set_result(True))

    service._loop.call_soon_threadsafe(stop)
    with connected(service) as late:
        while is_live(late):  # until the server has begun to stop
            pass
    assert not stopping.done()
    gate.open.set()
    result, error = answer.result(30)
    assert error is None
    expect_same(result, service.engines["scene"], movie())
    assert ended.result(30).status() == "StatusCode.UNAVAILABLE"
    (one,) = streamed
    expect_same(one, service.engines["scene"], movie(seed=1))
    assert stopping.result(30)
    client.stop_stream()


def test_a_push_whose_sequence_is_restarted_is_answered(service: Service, client: Any) -> None:
    gate = service.gates["scene"]
    gate.shut()
    first, second = Future[Any](), Future[Any]()
    start = {"sequence_id": 3, "sequence_start": True}
    client.async_infer("scene", tensors(movie()), lambda result, error: first.set_result(error), **start)
    assert gate.entered.wait(30)
    client.async_infer("scene", tensors(movie()), lambda result, error: second.set_result(error), **start)
    assert first.result(30).status() == "StatusCode.FAILED_PRECONDITION"
    gate.open.set()
    assert second.result(30) is None

"""Streams over gRPC: many sequences on one, each in order and equal to the whole movie; errors, floods and ends."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from queue import Queue
from typing import Any

import numpy as np
import pytest

grpc = pytest.importorskip("grpc")
pytest.importorskip("tritonclient.grpc")
pytest.importorskip("prometheus_client")
from grpc_service import Service, connected, movie, rows, running, tensors  # noqa: E402 (after what it needs)
from tritonclient.grpc import aio, service_pb2  # noqa: E402

from megaseg.serving import protocol, stream  # noqa: E402
from megaseg.serving.stream import Stream  # noqa: E402

Arrays = dict[str, np.ndarray]


@pytest.fixture
def service() -> Iterator[Service]:
    with running() as service:
        yield service


def push(name: int | str, features: Arrays, begin: int, end: int) -> dict[str, Any]:
    """Arguments of NVIDIA's client for shots from ``begin`` to ``end`` of a movie."""
    shots = len(features["clip"])
    return {
        "model_name": "scene",
        "inputs": tensors(rows(features, begin, end)),
        "request_id": f"{name}:{begin}",
        "sequence_id": name,
        "sequence_start": begin == 0,
        "sequence_end": end == shots,
    }


def expect_whole(results: list[Any], service: Service, features: Arrays) -> None:
    """Events of all answers in the order in which they came are the engine's decisions on the whole movie."""
    names = ("shot", "scores", "boundaries", "final")
    events = {name: np.concatenate([result.as_numpy(name) for result in results]) for name in names}
    want = service.engines["scene"].segment(features)
    np.testing.assert_array_equal(events["shot"], np.arange(len(want.scores)))
    assert events["scores"].tobytes() == want.scores.tobytes()
    np.testing.assert_array_equal(np.flatnonzero(events["boundaries"]), want.boundaries)
    assert events["final"].all()


@pytest.mark.parametrize("name", [7, "channel four"])
def test_a_sequence_is_the_whole_movie(name: int | str, service: Service) -> None:
    features = movie(shots=40)
    answers: Queue[Any] = Queue()
    with connected(service) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        cuts = [0, 1, 2, 9, 10, 33, 40]
        for begin, end in itertools.pairwise(cuts):
            client.async_stream_infer(**push(name, features, begin, end))
        client.stop_stream()  # waits for the answers
    results = [answers.get_nowait() for _ in cuts[1:]]
    assert [error for _, error in results] == [None] * 6
    assert [result.get_response().id for result, _ in results] == [f"{name}:{begin}" for begin in cuts[:-1]]
    expect_whole([result for result, _ in results], service, features)
    # The last shot's window reaches two shots ahead (L = 5): each push decides all but the last two.
    assert [len(result.as_numpy("shot")) for result, _ in results] == [0, 0, 7, 1, 23, 9]


def test_twenty_sequences_share_a_stream(service: Service) -> None:
    movies = {name: movie(shots=20 + name, seed=name) for name in range(1, 21)}
    rng = np.random.default_rng(0)
    pushes: dict[int, list[dict[str, Any]]] = {}
    for name, features in movies.items():
        inner = sorted(rng.choice(np.arange(1, 20 + name), 9, replace=False).tolist())
        cuts = [0, *inner, 20 + name]
        pushes[name] = [push(name, features, *cut) for cut in itertools.pairwise(cuts)]
    order = rng.permutation([name for name, own in pushes.items() for _ in own])
    sent: dict[int, list[str]] = defaultdict(list)
    got: dict[int, list[Any]] = defaultdict(list)

    async def requests() -> AsyncIterator[dict[str, Any]]:
        for name in map(int, order):
            request = pushes[name][len(sent[name])]
            sent[name].append(request["request_id"])
            yield request

    async def run() -> None:
        async with aio.InferenceServerClient(service.address) as client:
            async for result, error in client.stream_infer(requests()):
                assert error is None
                got[int(result.get_response().id.split(":")[0])].append(result)

    asyncio.run(run())
    for name, features in movies.items():
        assert [result.get_response().id for result in got[name]] == sent[name]
        expect_whole(got[name], service, features)


def test_a_request_that_fails_does_not_end_the_stream(service: Service) -> None:
    features = movie(shots=12)
    bad = {**features, "clip": features["clip"].copy()}
    bad["clip"][5, 0] = np.nan
    messages = [request_of(**push("a", part, *cut)) for part, cut in ((features, (0, 5)), (bad, (5, 8)))]
    messages += [b"\xff\xff", request_of(**push("b", features, 5, 8)), request_of(**push("a", features, 5, 12))]
    with grpc.insecure_channel(service.address) as channel:
        call = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
        answers = [service_pb2.ModelStreamInferResponse.FromString(data) for data in call(iter(messages))]
    by_id = {answer.infer_response.id: answer for answer in answers if answer.infer_response.id != "a:5"}
    first, *again = [answer for answer in answers if answer.infer_response.id.startswith("a:")]
    assert [answer.error_message.split(":")[0] for answer in again] == ["INVALID_ARGUMENT", ""]
    assert "NaN or Inf at shot 0" in again[0].error_message
    assert by_id[""].error_message.startswith("INVALID_ARGUMENT: message: expected a ModelInferRequest")
    assert by_id["b:5"].error_message.startswith("FAILED_PRECONDITION: sequence 'b'")
    assert len(answers) == len(messages)
    from tritonclient.grpc import InferResult

    expect_whole([InferResult(answer.infer_response) for answer in (first, again[1])], service, features)


def request_of(model_name: str, inputs: list[Any], request_id: str, **parameters: Any) -> bytes:
    """A request's bytes, as NVIDIA's client would send it."""
    request = service_pb2.ModelInferRequest(model_name=model_name, id=request_id)
    for tensor in inputs:
        request.inputs.append(tensor._get_tensor())
        request.raw_input_contents.append(tensor._get_content())
    for name, value in parameters.items():
        kind = {bool: "bool_param", int: "int64_param", str: "string_param"}[type(value)]
        setattr(request.parameters[name], kind, value)
    return bytes(request.SerializeToString())


def test_requests_without_a_sequence_come_back_in_order(service: Service) -> None:
    answers: Queue[Any] = Queue()
    with connected(service) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for number in range(30):
            model = ("scene", "act", "film")[number % 3]
            features = movie("act" if number % 3 == 1 else "scene", 6 + number, number)
            client.async_stream_infer(model, tensors(features), request_id=str(number))
        client.stop_stream()
    for number in range(30):
        result, error = answers.get_nowait()
        if number % 3 == 2:
            assert str(error).startswith("NOT_FOUND: model: expected one of scene, act, got 'film'")
            continue
        assert result.get_response().id == str(number)
        task = ("scene", "act")[number % 3]
        want = service.engines[task].segment(movie(task, 6 + number, number))
        assert result.as_numpy("scores").tobytes() == want.scores.tobytes()


def test_a_client_that_leaves_cancels_what_it_waits_for(service: Service) -> None:
    gate, scheduler = service.gates["scene"], service.schedulers["scene"]
    gate.shut()
    ended: Future[Any] = Future()
    with connected(service) as client:
        client.start_stream(lambda result, error: ended.set_result(error))
        for name in (1, 2, 3):
            client.async_stream_infer(**push(name, movie(), 0, 20))
            client.async_stream_infer(**push(name, movie(), 20, 30))
        while scheduler.stats().accepted < 3:
            client.is_server_live()
        client.stop_stream(cancel_requests=True)
        assert ended.result(30).status() == "StatusCode.CANCELLED"
        client.is_server_live()
        while service.call(count_streams(service)):
            client.is_server_live()
        gate.open.set()
        result = client.infer("scene", tensors(movie()))
        want = service.engines["scene"].segment(movie())
        assert result.as_numpy("scores").tobytes() == want.scores.tobytes()
    scheduler.close()
    stats = scheduler.stats()
    assert (stats.accepted, stats.cancelled, stats.completed, stats.queued) == (4, 3, 1, 0)


async def count_streams(service: Service) -> int:
    return len(service.server._service._streams)


def test_a_model_that_goes_ends_its_sequences_only(service: Service) -> None:
    answers: Queue[Any] = Queue()
    with connected(service) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        client.async_stream_infer(**push(1, movie(), 0, 20))
        assert answers.get(timeout=30)[1] is None
        client.unload_model("scene")
        client.async_stream_infer(**push(1, movie(), 20, 25))
        assert str(answers.get(timeout=30)[1]).startswith("UNAVAILABLE: model 'scene': expected a loaded model")
        client.load_model("scene")
        client.async_stream_infer(**push(1, movie(), 25, 28))
        assert str(answers.get(timeout=30)[1]).startswith("FAILED_PRECONDITION: sequence 1")
        for cut in ((0, 20), (20, 30)):
            client.async_stream_infer(**push(1, movie(), *cut))
        expect_whole([answers.get(timeout=30)[0] for _ in range(2)], service, movie())
        client.stop_stream()


class Channel:
    """What a ``Stream`` reads and writes, as far as it has been let; answers carry the id of their request."""

    def __init__(self, names: list[Any], most_bytes: int = 1 << 20) -> None:
        self.requests = [request_of("m", [], f"{name}:{i}", sequence_id=name) for i, name in enumerate(names)]
        self.reads, self.started, self.written = 0, [], []
        self.holds: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.stream = Stream(self.infer, self.read, self.write, most_bytes)

    async def infer(self, request: Any) -> Any:
        self.started.append(request.id)
        await self.holds[request.id].wait()
        return protocol.message("ModelInferResponse")(id=request.id)

    async def read(self) -> Any:
        if self.reads == len(self.requests):
            return grpc.aio.EOF
        self.reads += 1
        return self.requests[self.reads - 1]

    async def write(self, data: bytes) -> None:
        self.written.append(service_pb2.ModelStreamInferResponse.FromString(data).infer_response.id)

    def release(self, *ids: str) -> None:
        for id_ in ids:
            self.holds[id_].set()


async def settled() -> None:
    """All that can happen now has happened."""
    for _ in range(50):
        await asyncio.sleep(0)


def test_sequences_do_not_wait_for_each_other() -> None:
    async def run() -> None:
        channel = Channel(["a", "b", "a", 0, 0])
        running = asyncio.ensure_future(channel.stream.run())
        await settled()
        assert channel.started == ["a:0", "b:1", "0:3", "0:4"]
        channel.release("0:4", "b:1", "a:2")
        await settled()
        assert channel.written == ["b:1"]
        channel.release("0:3", "a:0")
        assert await running
        assert channel.started[-1] == "a:2"
        assert sorted(channel.written) == ["0:3", "0:4", "a:0", "a:2", "b:1"]
        assert channel.written.index("0:3") < channel.written.index("0:4")

    asyncio.run(run())


@pytest.mark.parametrize("bound", ["requests", "bytes"])
def test_a_flood_is_not_read_before_it_is_answered(bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        names = [*range(1, 10)]
        size = len(request_of("m", [], "1:0", sequence_id=1))
        channel = Channel(names, most_bytes=3 * size if bound == "bytes" else 1 << 20)
        running = asyncio.ensure_future(channel.stream.run())
        await settled()
        assert channel.reads == 3
        channel.release("2:1")
        await settled()
        assert (channel.reads, channel.written) == (4, ["2:1"])
        channel.release(*(f"{name}:{i}" for i, name in enumerate(names)))
        assert await running
        assert len(channel.written) == 9

    if bound == "requests":
        monkeypatch.setattr(stream, "MOST", 3)
    asyncio.run(run())


def test_a_stopped_stream_answers_what_it_has_read() -> None:
    async def run() -> None:
        channel = Channel(["a", "a", "b"])
        never = asyncio.Event()
        read, channel.stream._read = channel.stream._read, None  # type: ignore[assignment]

        async def hold() -> Any:
            if channel.reads == 2:
                await never.wait()
            return await read()

        channel.stream._read = hold
        running = asyncio.ensure_future(channel.stream.run())
        await settled()
        channel.stream.stop()
        await settled()
        assert not running.done()
        channel.release("a:0", "a:1")
        assert await running is False
        assert channel.written == ["a:0", "a:1"]

    asyncio.run(run())


def test_a_cancelled_stream_cancels_its_requests() -> None:
    async def run() -> None:
        channel = Channel(["a", "b", 0])
        running = asyncio.ensure_future(channel.stream.run())
        await settled()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await settled()
        assert channel.written == []
        assert channel.stream._answers == set()

    asyncio.run(run())

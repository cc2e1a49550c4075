"""The end of the gRPC service, as its callers see it: UNAVAILABLE, never CANCELLED, which is a client's own word."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

grpc = pytest.importorskip("grpc")
pytest.importorskip("tritonclient.grpc")
pytest.importorskip("prometheus_client")
from grpc_service import Service, connected, movie, running, tensors  # noqa: E402 (after the packages that it needs)
from tritonclient.grpc import service_pb2  # noqa: E402

PATH = "/inference.GRPCInferenceService/"


@pytest.fixture
def service() -> Iterator[Service]:
    with running() as service:
        yield service


@pytest.mark.parametrize("streamed", [False, True])
def test_what_the_end_cuts_off_was_unavailable(streamed: bool, service: Service) -> None:
    gate = service.gates["scene"]
    gate.shut()
    ended: Future[Any] = Future()
    with connected(service) as client:
        if streamed:
            client.start_stream(lambda result, error: ended.set_result(error))
            client.async_stream_infer("scene", tensors(movie()))
        else:
            client.async_infer("scene", tensors(movie()), lambda result, error: ended.set_result(error))
        assert gate.entered.wait(30)
        service.call(service.server.stop(0.1))
        error = ended.result(30)
        assert error.status() == "StatusCode.UNAVAILABLE"
        assert "shutting down" in str(error)
        gate.open.set()


def test_a_client_that_cancels_is_told_so(service: Service) -> None:
    gate, ended = service.gates["scene"], Future[Any]()
    gate.shut()
    with connected(service) as client:
        call = client.async_infer("scene", tensors(movie()), lambda result, error: ended.set_result(error))
        assert gate.entered.wait(30)
        call.cancel()
        assert ended.result(30).status() == "StatusCode.CANCELLED"


def test_callers_in_the_last_moments_are_answered_or_told_that_the_service_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Callers who ask again as soon as they have an answer, while the service drains and ends."""
    monkeypatch.setattr("megaseg.serving.grpc._PAUSE", 1.0)  # messages are slow where other tests have the cores
    message = service_pb2.ModelInferRequest(model_name="scene")
    message.inputs.extend(tensor._get_tensor() for tensor in tensors(movie()))
    message.raw_input_contents.extend(tensor._get_content() for tensor in tensors(movie()))
    request = message.SerializeToString()
    outcomes: set[str] = set()

    def unary(channel: Any) -> list[str]:
        channel.unary_unary(PATH + "ModelInfer")(request, timeout=30)
        return ["OK"]

    def stream(channel: Any) -> list[str]:
        answers = channel.stream_stream(PATH + "ModelStreamInfer")(iter([request] * 3), timeout=30)
        read = service_pb2.ModelStreamInferResponse.FromString
        return [read(answer).error_message.split(":")[0] or "OK" for answer in answers]

    def caller(address: str, call: Callable[[Any], list[str]], begun: threading.Event) -> None:
        own = [("grpc.use_local_subchannel_pool", 1)]  # a connection of the caller's own
        with grpc.insecure_channel(address, options=own) as channel:
            told = ""
            while "connect" not in told:  # until nobody listens
                try:
                    outcomes.update(call(channel))
                except grpc.RpcError as error:
                    outcomes.add(error.code().name)
                    told = error.details()
                begun.set()

    for _ in range(2):
        with running() as service:
            begun = [threading.Event() for _ in range(8)]
            threads = [
                threading.Thread(target=caller, args=(service.address, call, event), daemon=True)
                for call, event in zip((unary, stream) * 4, begun, strict=True)
            ]
            for thread in threads:
                thread.start()
            assert all(event.wait(30) for event in begun)
            service.call(service.inference.close())
            service.call(service.server.stop(10))
            for thread in threads:
                thread.join(60)
                assert not thread.is_alive()
    assert outcomes == {"OK", "UNAVAILABLE"}

"""Limits of a service: bodies, what they unpack to, shots, sequences, idle time."""

from __future__ import annotations

import gzip
import io
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
from support import random_features, small_config

from megaseg.errors import UnsupportedError
from megaseg.serving.settings import Limits

MIB = 1 << 20
INFER, SEGMENT = "/v2/models/scene/infer", "/v1/segment?model=scene"


@pytest.fixture
def small(start: Callable[..., Any]) -> Any:
    return start(limits=Limits(max_body_bytes=MIB, max_shots=100, max_streams=2))


def body(shots: int, **parameters: Any) -> dict[str, Any]:
    tensors = [
        {"name": name, "datatype": "FP32", "shape": list(array.shape), "data": array.ravel().tolist()}
        for name, array in random_features(small_config(), shots).items()
    ]
    return {"inputs": tensors, "parameters": parameters}


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def test_a_body_beyond_the_limit_is_refused(small: Any) -> None:
    def chunks() -> Iterator[bytes]:
        yield from (bytes(MIB // 4) for _ in range(12))

    for path in (INFER, SEGMENT):
        for content in (bytes(3 * MIB), chunks()):
            answer = small.http.post(path, content=content)
            assert answer.status_code == 413, answer.text
            assert str(MIB) in answer.json()["error"]
    assert small.http.post("/v2/repository/index", content=bytes(MIB)).status_code == 413
    assert small.http.post("/v2/repository/models/scene/load", content=bytes(MIB)).status_code == 413


def test_a_declared_length_is_refused_before_the_body_is_sent(small: Any) -> None:
    with socket.create_connection(("127.0.0.1", small.http_port)) as connection:
        connection.sendall(b"POST /v1/segment?model=scene HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_an_endless_body_is_refused_before_its_end(small: Any) -> None:
    head = b"POST /v1/segment?model=scene HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"40000\r\n" + bytes(MIB // 4) + b"\r\n"
    with socket.create_connection(("127.0.0.1", small.http_port)) as connection:
        connection.sendall(head)
        while not select.select([connection], [], [], 0)[0]:
            connection.sendall(chunk)
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_bodies_under_way_have_so_much_room_and_no_more(small: Any) -> None:
    head = b"POST /v1/segment?model=scene HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\nPK" % MIB
    with ExitStack() as held:
        slow = [held.enter_context(socket.create_connection(("127.0.0.1", small.http_port))) for _ in range(5)]
        for connection in slow:
            connection.sendall(head)
        (refused,), _, _ = select.select(slow, [], [])  # one of them has an answer
        assert refused.recv(100).startswith(b"HTTP/1.1 429 ")
    while small.http.post(INFER, json=body(1)).status_code == 429:  # until the service sees them go
        pass
    assert small.http.post(INFER, json=body(1)).status_code == 200


def test_what_unpacks_to_too_much_is_refused(small: Any) -> None:
    bomb = npz(clip=np.zeros((MIB, 13), np.float32))
    answer = small.http.post(SEGMENT, content=bomb)
    assert answer.status_code == 413
    assert "unpacks" in answer.json()["error"]
    headers = {"Content-Encoding": "gzip"}
    answer = small.http.post(INFER, content=gzip.compress(bytes(64 * MIB)), headers=headers)
    assert answer.status_code == 413
    assert "unpacks" in answer.json()["error"]
    assert small.http.post(INFER, content=b"no gzip", headers=headers).status_code == 400
    assert small.http.post(INFER, content=gzip.compress(b"{}")[:-9], headers=headers).status_code == 400
    assert small.http.post(INFER, content=b"{}", headers={"Content-Encoding": "br"}).status_code == 400


def test_a_deflated_file_is_read(small: Any, engines: Any, movie: Any) -> None:
    answer = small.http.post(
        SEGMENT, content=gzip.compress(npz(**movie)), headers={"Content-Encoding": "gzip", "Accept-Encoding": "gzip"}
    )
    assert answer.json() == engines["scene"].segment(movie).to_dict()


def test_too_much_json_is_refused(start: Any) -> None:
    answer = start().http.post(INFER, content=b" " * (16 * MIB + 1))
    assert answer.status_code == 413
    assert "binary" in answer.json()["error"]


def test_too_many_shots_are_refused(small: Any) -> None:
    for path, content in ((INFER, None), (SEGMENT, npz(**random_features(small_config(), 101)))):
        json = body(101) if content is None else None
        answer = small.http.post(path, json=json, content=content)
        assert answer.status_code == 413, answer.text
        assert "up to 100 a request, got 101" in answer.json()["error"]
    assert small.http.post(INFER, json=body(100)).status_code == 200


def test_too_many_sequences_are_refused(small: Any) -> None:
    for name in (1, 2):
        assert small.http.post(INFER, json=body(1, sequence_id=name, sequence_start=True)).status_code == 200
    answer = small.http.post(INFER, json=body(1, sequence_id=3, sequence_start=True))
    assert answer.status_code == 429
    assert small.http.post(INFER, json=body(1, sequence_id=1, sequence_start=True)).status_code == 200  # anew
    assert small.http.post(INFER, json=body(1, sequence_id=2, sequence_end=True)).status_code == 200
    assert small.http.post(INFER, json=body(1, sequence_id=3, sequence_start=True)).status_code == 200
    assert small.metrics()["megaseg_streams_open", ()] == 2


def test_an_idle_sequence_is_dropped(start: Any) -> None:
    service = start(limits=Limits(idle_seconds=0.05))
    assert service.http.post(INFER, json=body(3, sequence_id=1, sequence_start=True)).status_code == 200
    while service.metrics()["megaseg_streams_open", ()]:  # until the limit has passed
        pass
    answer = service.http.post(INFER, json=body(3, sequence_id=1))
    assert answer.status_code == 409
    assert "idle for 0.05 s" in answer.json()["error"]


def test_a_body_that_stops_coming_is_refused(start: Any) -> None:
    service = start(limits=Limits(idle_seconds=0.05))
    with socket.create_connection(("127.0.0.1", service.http_port)) as connection:
        connection.sendall(b"POST /v1/segment?model=scene HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nPK")
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")


def test_a_body_that_the_end_cuts_off_gets_503(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megaseg.serving.server._GRACE", 1)
    service = start()
    with socket.create_connection(("127.0.0.1", service.http_port)) as connection:
        connection.sendall(b"POST /v1/segment?model=scene HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nPK")
        service.metrics()  # answered after the request before it has begun
        service.stop()
        answer = b"".join(iter(lambda: connection.recv(1000), b""))
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"shutting down" in answer


@pytest.mark.parametrize("name", ["max_body_bytes", "max_shots", "max_streams", "idle_seconds"])
def test_a_limit_is_positive(name: str) -> None:
    for value in (0, -1, float("nan")):
        with pytest.raises(UnsupportedError, match=name):
            Limits(**{name: value})

"""megaseg serve as a process: its ports, its end by signals, and what it refuses to start with."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import Run, random_features, small_config

httpx = pytest.importorskip("httpx")
server = pytest.importorskip("megaseg.serving.server", reason="needs the extra serve")


class Process:
    """A child that serves, and its log so far."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "megaseg", "serve", "--http-port", "0", "--grpc-port", "0", *arguments]
        self.child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.log: list[dict[str, Any]] = []
        self._grown = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.event('serving')['http_port']}", timeout=60)

    def _read(self) -> None:
        assert self.child.stderr is not None
        for line in self.child.stderr:
            with self._grown:
                self.log.append(json.loads(line))
                self._grown.notify_all()
        with self._grown:
            self.log.append({"event": "end of log"})
            self._grown.notify_all()

    def event(self, name: str) -> dict[str, Any]:
        """The first line of this event, when it comes."""
        with self._grown:
            self._grown.wait_for(lambda: any(line["event"] in (name, "end of log") for line in self.log))
        return next(line for line in self.log if line["event"] == name)

    def end(self) -> None:
        self.http.close()
        self.child.kill()
        self.child.wait()
        self._reader.join()
        assert self.child.stderr is not None
        self.child.stderr.close()


@contextmanager
def process(*arguments: str) -> Iterator[Process]:
    child = Process(*arguments)
    try:
        yield child
    finally:
        child.end()


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_ends_it_when_accepted_work_is_answered(
    checkpoints: Any, engines: Any, number: signal.Signals
) -> None:
    movie = random_features(small_config(), 4_000)
    answers: list[Any] = []
    with process("-c", checkpoints["scene"], "--max-batch-size", "1", "--threads", "1") as one:

        def ask() -> None:
            with httpx.Client(base_url=one.http.base_url, timeout=60) as client:
                answers.append(client.post("/v1/segment", content=npz(**movie)))

        asking = threading.Thread(target=ask)
        asking.start()
        while 'megaseg_queue{model="scene"} 1.0' not in one.http.get("/metrics").text:
            pass
        one.child.send_signal(number)
        one.event("draining")
        refused = one.http.get("/v2/health/ready").status_code, one.http.post("/v1/segment").status_code
        assert refused == (503, 503)
        assert not answers
        asking.join()
        assert answers[0].json() == engines["scene"].segment(movie).to_dict()
        assert one.child.wait() == 0
        assert one.event("stopped")


def test_a_second_signal_ends_it_at_once(checkpoints: Any) -> None:
    movie = npz(**random_features(small_config(), 4_000))
    with process("-c", checkpoints["scene"], "--max-batch-size", "1", "--threads", "1") as one:
        asking = threading.Thread(target=_ask_in_vain, args=(one.http.base_url, movie))
        asking.start()
        while 'megaseg_queue{model="scene"} 1.0' not in one.http.get("/metrics").text:
            pass
        one.child.send_signal(signal.SIGTERM)
        one.event("draining")
        one.child.send_signal(signal.SIGTERM)
        assert one.child.wait() == -signal.SIGTERM
        asking.join()
        assert "stopped" not in [line["event"] for line in one.log]


def _ask_in_vain(url: Any, movie: bytes) -> None:
    with httpx.Client(base_url=url, timeout=60) as client, pytest.raises(httpx.HTTPError):
        client.post("/v1/segment", content=movie)


def test_what_it_refuses_to_start_with(run: Run, checkpoints: Any, tmp_path: Path) -> None:
    scene = checkpoints["scene"]
    token = tmp_path / "token"
    token.write_text("\n")
    for arguments, told in (
        (["-c", scene, "--host", "0.0.0.0"], "--insecure"),
        (["-c", scene, "-c", scene], "--checkpoint: expected different names, got 'scene'"),
        (["-c", scene, "--token-file", str(token)], "token: expected a token"),
        (["-c", scene, "--tls-key", str(token)], "--tls-certificate and --tls-key: expected both or neither"),
        (["-c", scene, "--device", "abacus"], "abacus"),
        (["-c", scene, "--idle-seconds", "0"], "--idle-seconds: expected"),
        (["-c", str(tmp_path / "none.safetensors")], "none.safetensors"),
        (["-c", "../odd name=" + scene], "letters, digits"),
    ):
        code, _, err = run("serve", *arguments, "--http-port", "0", "--grpc-port", "0")
        assert code == 2, err
        assert told in err.splitlines()[-1], err
    assert run("serve")[0] == 2


def test_a_port_that_is_taken_is_named(run: Run, service: Any, checkpoints: Any) -> None:
    code, _, err = run("serve", "-c", checkpoints["scene"], "--http-port", service.http_port, "--grpc-port", "0")
    assert code == 2
    assert f"HTTP cannot listen on 127.0.0.1:{service.http_port}" in err.splitlines()[-1]
    code, _, err = run("serve", "-c", checkpoints["scene"], "--http-port", "0", "--grpc-port", service.grpc_port)
    assert code == 2
    assert f":{service.grpc_port}" in err.splitlines()[-1]


def test_a_missing_extra_is_named(checkpoints: Any) -> None:
    code = "import sys; sys.modules['fastapi'] = None; from megaseg.cli import main; main()"
    command = [sys.executable, "-c", code, "serve", "-c", checkpoints["scene"]]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 2
    assert "pip install 'megaseg[serve]'" in done.stderr


def test_connections_do_not_wait_for_nagle() -> None:
    with server._listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP  # asyncio sets TCP_NODELAY on these only

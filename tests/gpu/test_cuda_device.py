"""The order in which work goes to a GPU, on a stand-in for ``torch.cuda`` that writes down what it is asked."""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from megaseg.engine.backends.cuda import backend as cuda

GRAPH = torch.cuda.graph


class Recorder:
    """Streams, events and graphs that note what happens to them, and on which stream."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.current = "caller's"
        self.streams = 0

    def note(self, what: str) -> None:
        self.log.append(f"{what} on {self.current}")

    def Stream(self) -> Any:  # noqa: N802  (as torch.cuda has it)
        recorder, name = self, ("copies", "work")[self.streams]
        self.streams += 1

        class Stream:
            def __str__(self) -> str:
                return name

            def wait_stream(self, other: Any) -> None:
                recorder.log.append(f"{name} waits for {other}")

        return Stream()

    def Event(self) -> Any:  # noqa: N802
        recorder = self

        class Event:
            def record(self) -> None:
                recorder.note("event")

            def synchronize(self) -> None:
                recorder.log.append("event is waited for")

        return Event()

    def CUDAGraph(self) -> Any:  # noqa: N802
        recorder = self

        class Graph:
            def replay(self) -> None:
                recorder.note("replay")

        return Graph()

    @contextmanager
    def stream(self, stream: Any) -> Any:
        before, self.current = self.current, str(stream)
        yield
        self.current = before

    @contextmanager
    def graph(self, *arguments: Any, **options: Any) -> Any:
        inspect.signature(GRAPH).bind(*arguments, **options)  # the real one takes them
        with self.stream(f"a graph of {options['stream']}"):
            yield

    def synchronize(self) -> None:
        self.log.append("synchronise")


class Buffer:
    def __init__(self, recorder: Recorder, name: str) -> None:
        self._recorder, self._name = recorder, name

    def copy_(self, source: Buffer, non_blocking: bool) -> None:
        assert non_blocking
        self._recorder.note(f"{source._name} to {self._name}")


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    for name in ("Stream", "Event", "CUDAGraph", "stream", "graph", "synchronize"):
        assert hasattr(torch.cuda, name)
        monkeypatch.setattr(torch.cuda, name, getattr(recorder, name))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 0))
    return recorder


def test_a_batch_is_copied_beside_the_work_and_replayed_after_its_copies(recorder: Recorder) -> None:
    device = cuda.CudaDevice()
    runs: list[str] = []

    def run() -> torch.Tensor:
        runs.append(recorder.current)
        return torch.zeros(1)

    replay, _ = device.captured(run)
    assert runs == ["work", "a graph of work"]  # libraries and kernels are set up outside the graph
    assert recorder.log == ["synchronise", "synchronise"]  # before the buffers are read, and before the capture
    recorder.log.clear()
    names = ("host", "device", "result", "host's result")
    host, there, result, back = (Buffer(recorder, name) for name in names)
    wait = device.submit([(there, host)], replay, [(back, result)])  # type: ignore[list-item]
    assert recorder.log == [
        "host to device on copies",
        "work waits for copies",
        "replay on work",
        "result to host's result on work",
        "event on work",
    ]
    wait()
    assert recorder.log[-1] == "event is waited for"

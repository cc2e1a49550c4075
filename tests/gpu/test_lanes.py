"""Chains of a graph on streams of their own: every node runs after what it reads, whatever the order of the streams."""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support import random_checkpoint, small_config

from megaseg.engine.backends.cuda import lanes
from megaseg.engine.graph.passes import PASSES, rewrite
from megaseg.engine.model.family import graph_of


class FakeCuda:
    """In place of ``torch.cuda``: what each stream is told to wait for, by the number of work before it."""

    def __init__(self) -> None:
        self.waited: list[tuple[Any, Any]] = []  # stream, event
        self.current = self.Stream(self)

    class Stream:
        def __init__(self, cuda: FakeCuda) -> None:
            self.cuda = cuda

        def wait_event(self, event: Any) -> None:
            self.cuda.waited.append((self, event))

        def wait_stream(self, other: Any) -> None:
            self.cuda.waited.append((self, other))

    class Event:
        recorded: Any = None

        def record(self, stream: Any) -> None:
            self.recorded = stream

    def current_stream(self) -> Any:
        return self.current

    @contextmanager
    def stream(self, stream: Any) -> Any:
        before, self.current = self.current, stream
        yield
        self.current = before


@pytest.fixture(params=["scene", "act"])
def graph(request):
    return rewrite(graph_of(random_checkpoint(small_config(request.param))), tuple(PASSES))


def sources(node):
    return node.inputs


def test_a_chain_is_a_path_and_modalities_have_their_own(graph) -> None:
    nodes = list(graph.nodes())
    chain = lanes.chains(nodes, sources)
    for number in set(chain.values()):
        path = [node for node in nodes if chain[node] == number]
        assert all(before in after.inputs for before, after in itertools.pairwise(path))
    first = [chain[node] for node in nodes if node.op == "features"]
    assert len(set(first)) == len(first) > 1


@pytest.mark.parametrize("streams", [1, 2, 8])
def test_every_node_comes_after_what_it_reads(graph, streams, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = FakeCuda()
    fake = SimpleNamespace(
        Stream=lambda: FakeCuda.Stream(cuda),
        Event=FakeCuda.Event,
        stream=cuda.stream,
        current_stream=cuda.current_stream,
    )
    monkeypatch.setattr(lanes, "torch", SimpleNamespace(cuda=fake, Tensor=torch.Tensor))
    monkeypatch.setattr(lanes, "STREAMS", streams)
    nodes = list(graph.nodes())
    own = lanes.Lanes(nodes, sources)
    home, users = cuda.current, {}
    values = {node: SimpleNamespace(record_stream=users.setdefault(node, []).append) for node in nodes}
    own.begin()
    ran: dict[Any, Any] = {}
    for node in nodes:
        with own.of(node, values):
            stream = cuda.current
            for source in node.inputs:
                waits = [
                    event for waiting, event in cuda.waited if waiting is stream and event is own._events.get(source)
                ]
                assert ran[source] is stream or (waits and waits[0].recorded is ran[source] and stream in users[source])
            ran[node] = stream
    assert cuda.current is home
    assert len(set(ran.values())) == min(streams, 1 + max(lanes.chains(nodes, sources).values()))
    own.end([values[node] for node in graph.results()])
    assert all((home, stream) in cuda.waited for stream in set(ran.values()))
    assert all(home in users[node] for node in graph.results())

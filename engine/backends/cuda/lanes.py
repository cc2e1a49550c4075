"""Work of a graph side by side on one device: chains of nodes, each on a stream of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from megaseg.engine.graph.graph import Node

STREAMS = 8  # small kernels of so many chains fill what large ones leave free


def chains(nodes: Sequence[Node], sources: Callable[[Node], Sequence[Node]]) -> dict[Node, int]:
    """The number of each node's chain: a node continues its first source that ends a chain, else begins a new one."""
    chain: dict[Node, int] = {}
    ends: dict[int, Node] = {}
    for node in nodes:
        free = (chain[source] for source in sources(node) if ends[chain[source]] is source)
        chain[node] = next(free, len(ends))
        ends[chain[node]] = node
    return chain


class Lanes:
    """Streams for the chains of a graph; a node waits for those of its sources that other streams compute."""

    def __init__(self, nodes: Sequence[Node], sources: Callable[[Node], Sequence[Node]]) -> None:
        chain = chains(nodes, sources)
        self._streams = [torch.cuda.Stream() for _ in range(min(STREAMS, 1 + max(chain.values())))]  # type: ignore[no-untyped-call]
        self._lane = {node: number % len(self._streams) for node, number in chain.items()}
        self._foreign = {
            node: [source for source in dict.fromkeys(sources(node)) if self._lane[source] != self._lane[node]]
            for node in nodes
        }
        self._awaited = {source for own in self._foreign.values() for source in own}
        self._events: dict[Node, torch.cuda.Event] = {}

    def begin(self) -> None:
        """Let every stream wait for the work of the current one."""
        for stream in self._streams:
            stream.wait_stream(torch.cuda.current_stream())

    @contextmanager
    def of(self, node: Node, values: Mapping[Node, Tensor]) -> Iterator[None]:
        """Compute a node on its stream, after its sources, whose memory stays theirs until then."""
        stream = self._streams[self._lane[node]]
        with torch.cuda.stream(stream):
            for source in self._foreign[node]:
                stream.wait_event(self._events[source])
                values[source].record_stream(stream)
            yield
            if node in self._awaited:
                self._events[node] = torch.cuda.Event()  # type: ignore[no-untyped-call]
                self._events[node].record(stream)

    def end(self, results: Sequence[Tensor]) -> None:
        """Let the current stream wait for every other one; ``results`` are then its own to read."""
        current = torch.cuda.current_stream()
        for stream in self._streams:
            current.wait_stream(stream)
        for result in results:
            result.record_stream(current)

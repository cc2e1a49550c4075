"""A model as a graph of ops: what the passes rewrite and every backend lowers.

A node is one op and the matrix that it gives. Its rows live in a space:

==============  ================================================================================================
space           rows
==============  ================================================================================================
``shots``       one per shot of the movie
``latents``     one per position of every sequence: windows * length, or the movie's shots
``prefix``      ``prefix`` per sequence: learnt tokens before the latents
``tokens``      both: every sequence's prefix tokens, then every sequence's latents
``sequences``   one per sequence: the position in a window's middle, or a pooled row
``source``      one per row of every sequence's second stream, which has lengths of its own; not of windows
==============  ================================================================================================
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.graph.sequences import Sequences, Windows
from megaseg.engine.inputs.modality import Modality
from megaseg.errors import UnsupportedError

Array = NDArray[Any]
SPACES = ("shots", "latents", "prefix", "tokens", "sequences", "source")


@dataclass(frozen=True, eq=False, slots=True)
class Weight:
    """A constant that is computed when it is read, so that a graph of any size weighs nothing.

    ``key`` says what the values are, a checkpoint's tensor and what was made of it: equal keys are equal values. None
    is like no other.
    """

    shape: tuple[int, ...]
    read: Callable[[], Array]
    key: Hashable = None

    def derived(self, *how: Hashable) -> Hashable:
        """The key of what is made of the weight in a way that ``how`` names with all its numbers."""
        return None if self.key is None else (self.key, *how)

    def double(self) -> NDArray[np.float64]:
        """The values in the precision that passes compute in."""
        return np.asarray(self.read(), np.float64)

    def rows(self, begin: int, end: int) -> Weight:
        """Rows begin to end."""
        return Weight((end - begin, *self.shape[1:]), lambda: self.read()[begin:end], self.derived("rows", begin, end))

    def columns(self, begin: int, end: int) -> Weight:
        """Columns begin to end of a matrix."""
        key = self.derived("columns", begin, end)
        return Weight((self.shape[0], end - begin), lambda: self.read()[:, begin:end], key)


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """One op (``graph.ops.OPS``). ``prefix`` is the number of prefix tokens per sequence in spaces that hold any."""

    op: str
    inputs: tuple[Node, ...]
    space: str
    width: int
    prefix: int = 0
    weights: Mapping[str, Weight] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Output:
    """A result by name, float32 (rows, width), and the parts that add up to it where a model tells them apart."""

    name: str
    node: Node
    parts: tuple[Node, ...] = ()

    @property
    def by_sequence(self) -> bool:
        """Whether the output has one row a sequence: of windows that is one a shot, of whole movies one in all."""
        return self.node.space == "sequences"


@dataclass(frozen=True, slots=True)
class Graph:
    """A model: how it cuts a movie into sequences, what it reads, and what it gives."""

    sequences: Sequences
    inputs: tuple[Modality, ...]
    outputs: tuple[Output, ...]

    def output(self, name: str) -> Output:
        """The output of a name.

        Raises:
            UnsupportedError: there is none; lists those there are.
        """
        named = {output.name: output for output in self.outputs}
        if name not in named:
            raise UnsupportedError(f"outputs: expected some of {', '.join(named)}, got {name!r:.80}")
        return named[name]

    def rows(self, output: Output, shots: int) -> int:
        """Rows of an output for so many shots of one movie."""
        return 1 if output.by_sequence and not isinstance(self.sequences, Windows) else shots

    @property
    def source_inputs(self) -> frozenset[int]:
        """Indices of the inputs that have the rows of the second stream; the others have one a shot."""
        found = (node for node in self.nodes() if node.op == "features" and node.space == "source")
        return frozenset(node.attributes["modality"] for node in found)

    def results(self) -> tuple[Node, ...]:
        """The nodes of outputs and their parts, which are read from outside."""
        return tuple(node for output in self.outputs for node in (output.node, *output.parts))

    def with_results(self, new: Mapping[Node, Node]) -> Graph:
        """The graph with the nodes of its outputs replaced."""
        outputs = (Output(o.name, new[o.node], tuple(new[part] for part in o.parts)) for o in self.outputs)
        return dataclasses.replace(self, outputs=tuple(outputs))

    @property
    def slots(self) -> int:
        """Rows of the tables that positions read by alignment slot, the same number in all of them; 1 without any.

        Raises:
            UnsupportedError: tables of different numbers of rows.
        """
        counts = {node.attributes["slots"] for node in self.nodes() if node.attributes.get("slots")}
        if len(counts) > 1:
            raise UnsupportedError(f"graph: expected one number of alignment slots here, got {sorted(counts)}")
        return counts.pop() if counts else 1

    def nodes(self) -> Iterator[Node]:
        """Every node after its inputs, each once."""
        seen: set[Node] = set()
        stack = [(node, False) for node in reversed(self.results())]
        while stack:
            node, ready = stack.pop()
            if ready:
                yield node
            elif node not in seen:
                seen.add(node)
                stack.append((node, True))
                stack += [(source, False) for source in reversed(node.inputs) if source not in seen]

    def users(self) -> dict[Node, list[Node]]:
        """The nodes that read each node."""
        users: dict[Node, list[Node]] = {}
        for node in self.nodes():
            for source in node.inputs:
                users.setdefault(source, []).append(node)
        return users

"""The graph as the native executor runs it: a type for every value, casts where products need another, packed weights.

Residuals and what attention reads are stored in bfloat16 where products are bfloat16 or int8 and the target has the
type; sums, what a layer normalisation reads, and everything per shot stay float32.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.graph.graph import SPACES, Graph, Node, Weight
from megaseg.engine.graph.passes.fused_embedding import fused_embedding

TYPES = ("float32", "bfloat16", "int8")
# The executor's op numbers, csrc/core/program/program.h.
OPS = (
    *("features", "cast", "windows", "linear", "head_linear", "layer_norm", "embed", "inverse_std"),
    *("select", "merge", "join", "attention", "window_attention", "query_attention", "add"),
)
ALIGN = 64

Bytes = NDArray[Any]
Pack = Callable[[str, NDArray[np.float32], "NDArray[np.float32] | None"], Bytes]
PackedSize = Callable[[str, int, int], int]


@dataclass(frozen=True, slots=True)
class Packed:
    """Weights of a step in the order of bytes that the executor reads: their number, and the bytes when asked for."""

    size: int
    read: Callable[[], Iterator[Bytes]]


@dataclass(frozen=True, slots=True)
class Value:
    """Rows of one space in one type."""

    space: str
    prefix: int
    width: int
    type: str


@dataclass(frozen=True, slots=True)
class Step:
    """One op over values, by their indices."""

    op: str
    out: int
    inputs: tuple[int, ...]
    attributes: tuple[int, ...] = ()
    weights: tuple[Packed, ...] = ()


class Lowering:
    """Lowers a graph for products of one type on one target.

    ``offered`` are the target's product types; ``pack`` and ``packed_size`` the target's order of weights.
    """

    def __init__(
        self, graph: Graph, config: Any, compute_type: str, offered: Sequence[str], pack: Pack, packed_size: PackedSize
    ) -> None:
        graph = fused_embedding(graph)
        self._graph, self._config, self._compute_type = graph, config, compute_type
        self._parts = {part for output in graph.outputs for part in output.parts}
        self._pack, self._packed_size = pack, packed_size
        self._wide = "bfloat16" if compute_type != "float32" and "bfloat16" in offered else "float32"
        self._users = graph.users()
        self._index: dict[Node, int] = {}
        self._casts: dict[tuple[int, str], int] = {}
        self.values: list[Value] = []
        self.steps: list[Step] = []
        for node in graph.nodes():
            self._lower(node)

    def _lower(self, node: Node) -> None:
        inputs = [self._index[source] for source in node.inputs]
        attributes: tuple[int, ...] = ()
        if node.op in ("linear", "head_linear"):
            product = self._product(node)
            inputs[0] = self._cast(inputs[0], product)
            activation = (int(node.attributes["activation"] == "gelu"),) if node.op == "linear" else ()
            attributes = (TYPES.index(product), *activation)
        elif node.op == "features":
            attributes = (node.attributes["modality"],)
        elif node.op == "inverse_std":
            attributes = (node.attributes["slots"],)
        of_type = self._type(node, inputs)
        weights = tuple(self._weights(node, of_type, TYPES[attributes[0]] if "linear" in node.op else ""))
        prefix = node.prefix if node.space in ("prefix", "tokens") else 0
        out = self._value(Value(node.space, prefix, node.width, of_type))
        self._index[node] = out
        self.steps.append(Step(node.op, out, tuple(inputs), attributes, weights))

    def _value(self, value: Value) -> int:
        self.values.append(value)
        return len(self.values) - 1

    def _cast(self, index: int, to: str) -> int:
        value = self.values[index]
        if value.type == to:
            return index
        if (index, to) not in self._casts:
            out = self._value(Value(value.space, value.prefix, value.width, to))
            self.steps.append(Step("cast", out, (index,)))
            self._casts[index, to] = out
        return self._casts[index, to]

    def _contributes(self, node: Node) -> bool:
        """Whether the node is a modality's part of the head, which is exact in every compute type."""
        return node in self._parts

    def _product(self, node: Node) -> str:
        """What a linear layer multiplies. int8: layers over all tokens, the bulk; features keep their precision."""
        if self._contributes(node):
            return "float32"
        if self._compute_type != "int8":
            return self._compute_type
        bulk = node.op == "linear" and node.space in ("tokens", "latents")
        return "int8" if bulk and node.inputs[0].op not in ("features", "windows") else self._wide

    def _type(self, node: Node, inputs: Sequence[int]) -> str:
        if node.op in ("select", "merge", "join", "windows"):
            return self.values[inputs[0]].type
        if node.space == "shots" or node.op in ("features", "inverse_std", "add") or self._contributes(node):
            return "float32"
        readers = self._users.get(node, [])
        if all(self._contributes(user) for user in readers):
            return "float32"
        summed = "linear" in node.op and {user.op for user in readers} <= {"layer_norm", "embed", "query_attention"}
        return "float32" if summed else self._wide

    def _weights(self, node: Node, of_type: str, product: str) -> Iterator[Packed]:
        own = node.weights
        if node.op == "linear":
            n, k = own["weight"].shape
            size = self._packed_size(product, n, k)
            yield Packed(size, lambda: iter([self._packed(product, own["weight"], own.get("bias"))]))
        elif node.op == "head_linear":
            heads, n, k = own["weight"].shape
            size = heads * self._packed_size(product, n, k)
            yield Packed(size, lambda: (self._packed(product, _head(own["weight"], h)) for h in range(heads)))
        else:
            for name, weight in own.items():
                yield _plain(weight, of_type if (node.op, name) == ("embed", "prefix") else "float32")

    def _packed(self, product: str, weight: Weight, bias: Weight | None = None) -> Bytes:
        return self._pack(product, _single(weight), None if bias is None else _single(bias))

    def words(self, target: str) -> tuple[bytes, list[tuple[int, Packed]], int]:
        """The program in 32-bit words, where each weight goes among the weights, and how many bytes they take."""
        config = self._config
        threshold = _least(0.5 if config.threshold is None else config.threshold)
        words: list[bytes] = [
            _word(("scene", "act", "synopsis").index(config.task), config.max_length),
            _word(config.num_heads, config.num_classes),
            struct.pack("<ff", config.layer_norm_eps, threshold),
            _text(target),
            _word(len(config.modalities)),
            *(_word(modality.feature_size) + _text(modality.name) for modality in config.modalities),
            _word(len(self.values)),
            *(_word(SPACES.index(v.space), v.prefix, v.width, TYPES.index(v.type)) for v in self.values),
            _word(len(self.steps)),
        ]
        placed: list[tuple[int, Packed]] = []
        end = 0
        for step in self.steps:
            words.append(_word(OPS.index(step.op), step.out, len(step.inputs), *step.inputs))
            words.append(_word(len(step.attributes), *step.attributes, len(step.weights)))
            for packed in step.weights:
                words.append(struct.pack("<QQ", end, packed.size))
                placed.append((end, packed))
                end += -(-packed.size // ALIGN) * ALIGN
        return b"".join(words), placed, end


def _least(threshold: float) -> float:
    """The smallest float32 that is no less: float32 scores pass it exactly where they pass the threshold."""
    single = np.float32(threshold)
    return float(single if float(single) >= threshold else np.nextafter(single, np.float32(2)))


def _single(weight: Weight) -> NDArray[np.float32]:
    return np.ascontiguousarray(weight.read(), np.float32)


def _head(weight: Weight, head: int) -> Weight:
    return Weight(weight.shape[1:], lambda: weight.read()[head])


def _plain(weight: Weight, of_type: str) -> Packed:
    count = int(np.prod(weight.shape))
    if of_type == "float32":
        return Packed(4 * count, lambda: iter([_single(weight)]))
    return Packed(2 * count, lambda: iter([_bfloat16(_single(weight))]))


def _bfloat16(x: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Rounded to nearest, ties to even."""
    bits = x.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _word(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def _text(text: str) -> bytes:
    data = text.encode()
    return _word(len(data)) + data + bytes(-len(data) % 4)

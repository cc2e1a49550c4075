"""The graph as the native executor runs it: a type for every value, casts where products need another, packed weights.

Residuals and what attention reads are stored in bfloat16 where products are bfloat16 or int8 and the target has the
type, and for int8_bfloat16; outputs, sums, what a layer normalisation reads, and everything per shot stay float32.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.backends.native.extension import extension
from megaseg.engine.graph.graph import SPACES, Graph, Node, Weight
from megaseg.engine.graph.ops import ACTIVATIONS, OPS, POOLS, TABLES
from megaseg.engine.graph.sequences import Sequences as Cut
from megaseg.engine.graph.sequences import Strided, Windows, longest_of
from megaseg.engine.inputs.modality import TYPES as INPUT_TYPES
from megaseg.engine.model.config import ModelConfig

TYPES = ("float32", "bfloat16", "int8", "int16", "int32")
CHOICES = {"activation": ACTIVATIONS, "by": TABLES, "kind": POOLS}  # attributes that are names, numbered
# Inputs that may be features as they are, by their place; casts read them too, every other op gets a copy.
READ_FEATURES = {("linear", 0), ("windows", 0), ("gather", 0), ("pool", 1), ("scatter_mean", 1)}
READ_EXACT = ("embed", "inverse_std")
# Ops whose inputs, from which one on, are of one type; the result's where LIKE_INPUT says so.
ALIKE = {"attention": 0, "merge": 0, "join": 0, "query_attention": 1, "concat": 0}
SUMMED_FOR = {"add_table", "embed", "layer_norm", "query_attention"}  # sums that these alone read stay exact
SEQUENCES = ("windows", "whole")
LIKE_INPUT = ("attention", "prepend")
ALIGN = 64
# Inputs of a linear layer: below it, int8 saves less than its error costs where attention takes the time, or on one row
# of a window.
NARROW = 256

Bytes = NDArray[Any]
Pack = Callable[[str, NDArray[np.float32], "NDArray[np.float32] | None"], Bytes]
PackedSize = Callable[[str, int, int], int]


@dataclass(frozen=True, slots=True)
class Packed:
    """Weights of a step in the order of bytes that the executor reads: their number, and the bytes when asked for.

    Equal keys are equal bytes; None is like no other.
    """

    size: int
    read: Callable[[], Iterator[Bytes]]
    key: Hashable = None


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
        self, graph: Graph, compute_type: str, offered: Sequence[str], pack: Pack, packed_size: PackedSize
    ) -> None:
        self._graph, self._compute_type = graph, compute_type
        self._results = _made_of(graph.results())
        self._pack, self._packed_size = pack, packed_size
        exact = compute_type in ("float32", "int8_float32") or "bfloat16" not in offered
        self._wide = "float32" if exact else "bfloat16"
        self._whole = not isinstance(graph.sequences, Windows)
        self._users = graph.users()
        self._index: dict[Node, int] = {}
        self._casts: dict[tuple[int, str], int] = {}
        self.values: list[Value] = []
        self.steps: list[Step] = []
        for node in graph.nodes():
            self._lower(node)
        self._index |= {node: self._cast(self._copied(node), "float32") for node in graph.results()}

    def _lower(self, node: Node) -> None:
        product = self._product(node) if OPS[node.op].product else ""
        inputs = self._inputs(node, product)
        attributes = tuple(_number(name, node.attributes[name]) for name in OPS[node.op].attributes)
        if product:
            attributes = (TYPES.index(product), *attributes)
        of_type = self._type(node, inputs)
        if node.op == "attention":
            attributes = (*attributes, TYPES.index(self._attended(of_type)))
        weights = tuple(self._weights(node, of_type, product))
        prefix = node.prefix if node.space in ("prefix", "tokens") else 0
        out = self._value(Value(node.space, prefix, node.width, of_type))
        self._index[node] = out
        self.steps.append(Step(node.op, out, inputs, attributes, weights))

    def _inputs(self, node: Node, product: str) -> tuple[int, ...]:
        """The values that a step reads, in types that its kernel takes."""
        inputs = [
            self._index[source] if (node.op, at) in READ_FEATURES else self._copied(source)
            for at, source in enumerate(node.inputs)
        ]
        if product:
            inputs[0] = self._cast(inputs[0], product)
        elif node.op in READ_EXACT:
            inputs[0] = self._cast(inputs[0], "float32")
        same = ALIKE.get(node.op, len(inputs))
        if len({self.values[index].type for index in inputs[same:]}) > 1:
            inputs[same:] = [self._cast(index, self._wide) for index in inputs[same:]]
        return tuple(inputs)

    def _copied(self, node: Node) -> int:
        """A node's value, of features a copy: only few ops read them where they are."""
        index = self._index[node]
        return self._new_cast(index, "float32") if node.op == "features" else index

    def _value(self, value: Value) -> int:
        self.values.append(value)
        return len(self.values) - 1

    def _cast(self, index: int, to: str) -> int:
        return index if self.values[index].type == to else self._new_cast(index, to)

    def _new_cast(self, index: int, to: str) -> int:
        if (index, to) not in self._casts:
            value = self.values[index]
            out = self._value(Value(value.space, value.prefix, value.width, to))
            self.steps.append(Step("cast", out, (index,)))
            self._casts[index, to] = out
        return self._casts[index, to]

    def _product(self, node: Node) -> str:
        """What a linear layer multiplies: float32 for outputs and their parts.

        int8: layers over all tokens, the bulk, and wide ones on one row of a window or shot; features keep their
        precision, and so do narrow layers of whole sequences, whose time is attention's. int16: rows for weights in ten
        bits.
        """
        if node in self._results:
            return "float32"
        if self._compute_type in ("int8_float32", "int8_bfloat16"):
            return "int16" if node.op == "linear" else self._wide
        if self._compute_type != "int8":
            return self._compute_type
        if node.op != "linear" or node.inputs[0].op in ("features", "windows"):
            return self._wide
        bulk = node.space in ("tokens", "latents", "source")
        wide = node.inputs[0].width >= NARROW
        return "int8" if (bulk and wide if self._whole else bulk or wide) else self._wide

    def _multiplies(self, user: Node, node: Node) -> bool:
        """Whether a step reads a node's rows as int8, and in no other way."""
        return user.op == "linear" and node not in user.inputs[1:] and self._product(user) == "int8"

    def _attended(self, of_type: str) -> str:
        """What attention multiplies: int8 over whole sequences; in windows its preparations would cost more."""
        return "int8" if self._compute_type == "int8" and self._whole else of_type

    def _type(self, node: Node, inputs: Sequence[int]) -> str:
        op = OPS[node.op]
        if op.moves or node.op in LIKE_INPUT:
            return self.values[inputs[0]].type
        if node.op == "features":
            modality: int = node.attributes["modality"]
            return self._graph.inputs[modality].type
        if op.exact or node.space == "shots" or node in self._results:
            return "float32"
        readers = self._users[node]
        if (
            readers
            and node.op == "linear"
            and self._product(node) == "int8"
            and all(self._multiplies(user, node) for user in readers)
        ):
            return "int8"
        if all(user in self._results for user in readers):
            return "float32"
        summed = op.product and {user.op for user in readers} <= SUMMED_FOR
        return "float32" if summed else self._wide

    def _weights(self, node: Node, of_type: str, product: str) -> Iterator[Packed]:
        own = node.weights
        if node.op == "linear":
            size = self._packed_size(product, *own["weight"].shape)
            key = _key(product, *own.values())
            yield Packed(size, lambda: iter([self._packed(product, own["weight"], own.get("bias"))]), key)
        elif node.op == "head_linear":
            heads, n, k = own["weight"].shape
            size = heads * self._packed_size(product, n, k)
            yield Packed(size, lambda: (self._packed(product, _head(own["weight"], h)) for h in range(heads)))
        else:
            for name in OPS[node.op].weights:
                if name in own:
                    rows = name == "prefix" and node.op != "window_attention"
                    yield _plain(own[name], of_type if rows else "float32")

    def _packed(self, product: str, weight: Weight, bias: Weight | None = None) -> Bytes:
        return self._pack(product, _single(weight), None if bias is None else _single(bias))

    def words(self, target: str, properties: Mapping[str, str]) -> tuple[bytes, list[tuple[int, Packed]], int]:
        """The program in 32-bit words, where each weight goes among the weights, and how many bytes they take."""
        kind, length, apart = sequence_words(self._graph.sequences)
        words: list[bytes] = [
            _word(SEQUENCES.index(kind), length, apart),
            _text(target),
            _word(len(properties)),
            *(_text(name) + _text(value) for name, value in properties.items()),
            _word(len(self._graph.inputs)),
            *(
                _word(m.feature_size, INPUT_TYPES.index(m.type), index in self._graph.source_inputs) + _text(m.name)
                for index, m in enumerate(self._graph.inputs)
            ),
            _word(len(self.values)),
            *(_word(SPACES.index(v.space), v.prefix, v.width, TYPES.index(v.type)) for v in self.values),
            _word(len(self.steps)),
        ]
        ops = extension().ops()
        placed: list[tuple[int, Packed]] = []
        shared: dict[Hashable, int] = {}  # offsets
        end = 0
        for step in self.steps:
            words.append(_word(ops.index(step.op), step.out, len(step.inputs), *step.inputs))
            words.append(_word(len(step.attributes), *step.attributes, len(step.weights)))
            for packed in step.weights:
                key = None if packed.key is None else (packed.size, packed.key)
                at = shared.setdefault(key, end) if key else end
                words.append(struct.pack("<QQ", at, packed.size))
                if at == end:
                    placed.append((end, packed))
                    end += -(-packed.size // ALIGN) * ALIGN
        words.append(_word(len(self._graph.outputs)))
        for output in self._graph.outputs:
            parts = [self._index[part] for part in output.parts]
            words.append(_text(output.name) + _word(self._index[output.node], len(parts), *parts))
        return b"".join(words), placed, end


def _made_of(results: Iterable[Node]) -> set[Node]:
    """Results, and the nodes whose rows they are."""
    found: set[Node] = set()
    for node in results:
        found.add(node)
        while OPS[node.op].moves and len(node.inputs) == 1:
            node = node.inputs[0]
            found.add(node)
    return found


def sequence_words(sequences: Cut) -> tuple[str, int, int]:
    """Kind, length and step of sequences, as a program states them."""
    if isinstance(sequences, Windows):
        return "windows", sequences.length, 1
    return "whole", longest_of(sequences), 0


def properties_of(config: ModelConfig) -> dict[str, str]:
    """What a compiled model says to who runs it without Python: texts that the executor stores and does not read."""
    said = {"task": config.task}
    if config.threshold is not None:
        said["threshold"] = f"{_least(config.threshold):.9g}"
    if isinstance(config.sequences, Strided):
        said["step"] = str(config.sequences.step)
    return said


def _number(name: str, value: Any) -> int:
    """An attribute as a word: the number of a choice, the bits of a float32, or the integer itself."""
    if name in CHOICES:
        return CHOICES[name].index(value)
    if name == "eps":
        return int(np.float32(value).view(np.uint32))
    return int(value)


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
    key = _key(f"plain {of_type}", weight)
    if of_type == "float32":
        return Packed(4 * count, lambda: iter([_single(weight)]), key)
    return Packed(2 * count, lambda: iter([_bfloat16(_single(weight))]), key)


def _key(kind: str, *weights: Weight) -> Hashable:
    """Of weights packed in one way."""
    keys = [weight.key for weight in weights]
    return None if None in keys else (kind, *keys)


def _bfloat16(x: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Rounded to nearest, ties to even."""
    bits = x.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _word(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def _text(text: str) -> bytes:
    data = text.encode()
    return _word(len(data)) + data + bytes(-len(data) % 4)

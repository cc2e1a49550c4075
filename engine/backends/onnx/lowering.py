"""The graph's ops as ONNX operators of opset 17, every type explicit.

Products, attention's among them, are of the compute type, and their weights are stored in it. Layer normalisation,
softmax, GELU, the first layer's tables, biases, sums and the head are float32, with a Cast wherever the type changes: a
strongly typed network as it stands. A residual is added in float32 as the products read it, rounded: a float32 copy
beside it would double the memory traffic of those rows, for a tenth less error.

Rows of shots are (shots, width), all others (sequences, rows, width).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto

from megaseg.engine.backends.onnx.signature import WINDOWS
from megaseg.engine.backends.onnx.writer import FLOAT32, Writer
from megaseg.engine.backends.protocol import PARTS
from megaseg.engine.graph.graph import Graph, Node, Weight
from megaseg.engine.graph.ops import OPS
from megaseg.engine.graph.sequences import Windows, alignment_slots

_END = np.iinfo(np.int64).max


class OnnxLowering(Writer):
    """``nodes`` and ``initializers`` of a graph for products of one type."""

    def __init__(self, graph: Graph, compute_type: str) -> None:
        super().__init__()
        self._graph, self._narrow = graph, compute_type
        self._length = graph.sequences.length if isinstance(graph.sequences, Windows) else 0
        self._results = set(graph.results())
        self._values: dict[tuple[Node, str], str] = {}  # a node's rows in a type
        self._shared: dict[Any, str] = {}  # what several nodes compute
        wanted = self._wanted()
        for index, node in enumerate(graph.nodes()):
            self._scope = f"{node.op}_{index}"
            self._lower(node, sorted(wanted[node]))
        self._outputs()

    def _wanted(self) -> dict[Node, set[str]]:
        """The types that a node's readers read it in."""
        nodes = list(self._graph.nodes())
        wanted: dict[Node, set[str]] = {node: {FLOAT32} if node in self._results else set() for node in nodes}
        for node in reversed(nodes):
            for source, kinds in zip(node.inputs, self._reads(node, wanted[node]), strict=True):
                wanted[source] |= kinds
        return wanted

    def _reads(self, node: Node, own: set[str]) -> list[set[str]]:
        """The types that a node reads its inputs in; ``own`` are those that it is read in itself."""
        wide, narrow = {FLOAT32}, {self._narrow}
        match node.op:
            case op if OPS[op].moves or op == "prepend":
                return [own] * len(node.inputs)
            case "gather":
                return [{"int32"}]
            case "pool":
                return [wide, {"int32"}][: len(node.inputs)]
            case "scatter_mean":
                return [wide, {"int32"}]
            case "linear":
                return [{self._product(node)}, narrow][: len(node.inputs)]
            case "head_linear":
                return [narrow]
            case "attention":
                return [wide, narrow]  # queries are rounded after they are scaled
            case "query_attention":
                return [wide, narrow, narrow]
            case "window_attention":
                return [narrow, wide]
            case _:
                return [wide] * len(node.inputs)

    def _product(self, node: Node) -> str:
        """What a linear layer multiplies: float32 where its sums are handed out."""
        return FLOAT32 if node in self._results else self._narrow

    def _lower(self, node: Node, kinds: Sequence[str]) -> None:
        if OPS[node.op].moves:
            for kind in kinds:
                self._values[node, kind] = self._moved(node, [self._values[source, kind] for source in node.inputs])
        elif node.op == "prepend":
            for kind in kinds:
                self._values[node, kind] = self._prepended(node, self._values[node.inputs[0], kind], kind)
        elif node.op == "embed":
            latents = self._scaled_rows(node, self._centred(node), self._inverse_std(node))
            for kind in kinds:
                self._values[node, kind] = self._prepended(node, self._cast(latents, FLOAT32, kind), kind)
        else:
            rows, own = self._computed(node)
            for kind in kinds:
                self._values[node, kind] = self._cast(rows, own, kind)

    def _prepended(self, node: Node, latents: str, kind: str) -> str:
        """A node's prefix tokens before the latents of every sequence."""
        prefix = node.weights["prefix"]
        return self._op("Concat", self._repeated(prefix, kind), latents, axis=1) if prefix.shape[0] else latents

    def _moved(self, node: Node, inputs: Sequence[str]) -> str:
        if node.op == "windows":
            return self._op("Gather", inputs[0], WINDOWS, axis=0)
        if node.op == "concat":
            return self._op("Concat", *inputs, axis=-1)
        if node.op != "select":
            return self._op("Concat", *inputs, axis=1)
        if node.inputs[0].space == "prefix":
            return inputs[0]
        prefix = node.inputs[0].prefix
        middle = prefix + self._length // 2
        ends = {"prefix": (0, prefix), "latents": (prefix, _END), "sequences": (middle, middle + 1)}
        return self._rows(inputs[0], *ends[node.space])

    def _rows(self, x: str, begin: int, end: int) -> str:
        """Rows begin to end of every sequence."""
        return self._op("Slice", x, *(self._integers(value) for value in (begin, end, 1)))

    def _computed(self, node: Node) -> tuple[str, str]:
        """A node's rows, and the type that they come in."""
        match node.op:
            case "features":
                own = self._graph.inputs[node.attributes["modality"]]
                return own.name, own.type
            case "gather":
                ids = self._op("Squeeze", self._values[node.inputs[0], "int32"], self._integers(-1))
                return self._op("Gather", self._weight(node.weights["table"]), ids, axis=0), FLOAT32
            case "add_table":
                return self._op("Add", self._latents(node.inputs[0]), self._table(node)), FLOAT32
            case "add":
                total = self._op("ReduceSum", self._stacked(node.inputs), self._integers(2), keepdims=0)
                bias = node.weights.get("bias")
                return total if bias is None else self._op("Add", total, self._weight(bias)), FLOAT32
            case "pool":
                return self._pooled(node), FLOAT32
            case "scatter_mean":
                return self._scattered(node), FLOAT32
            case "l2_normalise":
                x = self._values[node.inputs[0], FLOAT32]
                norm = self._op("ReduceL2", x, axes=[-1])
                return self._op("Div", x, self._op("Max", norm, self._scalar(node.attributes["eps"]))), FLOAT32
            case "linear":
                return self._linear(node)
            case "head_linear":
                return self._head_linear(node), self._narrow
            case "layer_norm":
                return self._layer_norm(self._values[node.inputs[0], FLOAT32], node), FLOAT32
            case "inverse_std":
                return self._inverse_std(node), FLOAT32
            case _:
                return self._attended(node), self._narrow

    def _attended(self, node: Node) -> str:
        match node.op:
            case "attention":
                q, kv = node.inputs
                parts = self._split(self._values[kv, self._narrow], node.width, 2)
                return self._attention(node, self._values[q, FLOAT32], *parts)
            case "window_attention":
                query, *parts = self._split(self._tabled(node), node.width, 3)
                keys, values = (self._cast(x, FLOAT32, self._narrow) for x in parts)
                return self._attention(node, query, keys, values)
            case "query_attention":
                return self._query_attention(node)
            case op:
                raise AssertionError(f"no ONNX form of op {op}")

    def _linear(self, node: Node) -> tuple[str, str]:
        kind, bias, activation = self._product(node), node.weights.get("bias"), node.attributes["activation"]
        x, *residual = node.inputs
        y = self._op("MatMul", self._values[x, kind], self._weight(node.weights["weight"], kind, (1, 0)))
        if bias is None and not residual and activation == "none":
            return y, kind
        y = self._cast(y, kind, FLOAT32)
        if bias is not None:
            y = self._op("Add", y, self._weight(bias))
        for source in residual:
            y = self._op("Add", y, self._cast(self._values[source, self._narrow], self._narrow, FLOAT32))
        return self._activated(y, activation), FLOAT32

    def _activated(self, x: str, activation: str) -> str:
        if activation == "gelu":
            return self._gelu(x)
        kinds = {"relu": "Relu", "tanh": "Tanh"}
        return self._op(kinds[activation], x) if activation in kinds else x

    def _gelu(self, x: str) -> str:
        """``x / 2 (1 + erf(x / sqrt 2))`` in the form that runtimes fuse."""
        erf = self._op("Erf", self._op("Div", x, self._scalar(math.sqrt(2))))
        return self._op("Mul", self._op("Mul", x, self._op("Add", erf, self._scalar(1))), self._scalar(0.5))

    def _head_linear(self, node: Node) -> str:
        """One row a window: a product of all windows for each head."""
        heads, n, k = node.weights["weight"].shape
        x = self._transpose(self._reshape(self._values[node.inputs[0], self._narrow], -1, heads, k), 1, 0, 2)
        y = self._op("MatMul", x, self._weight(node.weights["weight"], self._narrow, (0, 2, 1)))
        return self._reshape(self._transpose(y, 1, 0, 2), -1, 1, heads * n)

    def _layer_norm(self, x: str, node: Node) -> str:
        """The operator; step by step on tables and features, whose overflow it would not show."""
        if node.inputs[0].op != "add_table" and not _of_features(node.inputs[0]):
            parts = [self._weight(node.weights[name]) for name in ("gamma", "beta")]
            return self._op("LayerNormalization", x, *parts, axis=-1, epsilon=node.attributes["eps"])
        centred = self._less_mean(x)
        return self._scaled_rows(node, centred, self._inverse_std_of(centred, node.attributes["eps"]))

    def _scaled_rows(self, node: Node, centred: str, inverse_std: str) -> str:
        rows = self._op("Mul", self._op("Mul", centred, inverse_std), self._weight(node.weights["gamma"]))
        return self._op("Add", rows, self._weight(node.weights["beta"]))

    def _less_mean(self, x: str) -> str:
        return self._op("Sub", x, self._op("ReduceMean", x, axes=[2]))

    def _inverse_std_of(self, centred: str, eps: float) -> str:
        """``sqrt(v) / v`` of v = variance + eps: NaN where it overflows, where a reciprocal would be 0."""
        variance = self._op("ReduceMean", self._op("Mul", centred, centred), axes=[2])
        v = self._op("Add", variance, self._scalar(eps))
        return self._op("Div", self._op("Sqrt", v), v)

    def _inverse_std(self, node: Node) -> str:
        key = ("inverse_std", *self._rows_of(node))
        if key not in self._shared:
            self._shared[key] = self._inverse_std_of(self._centred(node), node.attributes["eps"])
        return self._shared[key]

    def _centred(self, node: Node) -> str:
        """What ``embed`` normalises, less its mean."""
        key = ("centred", *self._rows_of(node))
        if key not in self._shared:
            source, position, align = self._rows_of(node)
            x = self._op("Add", self._latents(source), self._places(position, align))
            self._shared[key] = self._less_mean(x)
        return self._shared[key]

    @staticmethod
    def _rows_of(node: Node) -> tuple[Node, Weight, Weight]:
        """What decides the rows that ``embed`` normalises."""
        return node.inputs[0], node.weights["position"], node.weights["align"]

    def _latents(self, source: Node) -> str:
        """Rows of latents, float32: of shots their windows."""
        x = self._values[source, FLOAT32]
        return self._op("Gather", x, WINDOWS, axis=0) if source.space == "shots" else x

    def _places(self, position: Weight, align: Weight) -> str:
        """Position and alignment embeddings of every latent, (latents, width)."""
        if self._length:
            slots = alignment_slots(self._length, align.shape[0])
            return self._weight(Weight(position.shape, lambda: position.double() + align.double()[slots]))
        return self._op("Add", self._by_position(position), self._by_slot(align))

    def _table(self, node: Node) -> str:
        """The rows that ``add_table`` adds, (latents, width)."""
        table, by_slot = node.weights["table"], node.attributes["by"] == "slot"
        if not self._length:
            return self._by_slot(table) if by_slot else self._by_position(table)
        if not by_slot:
            return self._weight(table)
        slots = alignment_slots(self._length, table.shape[0])
        return self._weight(Weight((self._length, table.shape[1]), lambda: table.double()[slots]))

    def _by_position(self, table: Weight) -> str:
        """The first rows of a table, as many as a whole movie has."""
        return self._op("Slice", self._weight(table), self._integers(0), self._shots(), self._integers(0))

    def _by_slot(self, table: Weight) -> str:
        """The rows of a table by the alignment slots of a whole movie, computed where the movie's length is known."""
        key = ("slots", table.shape[0])
        if key not in self._shared:
            scaled = self._op("Mul", self._positions(), self._integers(table.shape[0]))
            self._shared[key] = self._op("Div", scaled, self._shots())
        return self._op("Gather", self._weight(table), self._shared[key], axis=0)

    def _shots(self) -> str:
        """Shots of a whole movie, (1,)."""
        if "shots" not in self._shared:
            self._shared["shots"] = self._size(1)
        return self._shared["shots"]

    def _stacked(self, parts: Sequence[Node]) -> str:
        """Rows of several nodes side by side, (sequences, rows, parts, width)."""
        key = ("stacked", *parts)
        if key not in self._shared:
            rows = [self._op("Unsqueeze", self._values[part, FLOAT32], self._integers(2)) for part in parts]
            self._shared[key] = self._op("Concat", *rows, axis=2)
        return self._shared[key]

    def _pooled(self, node: Node) -> str:
        source, *group = node.inputs
        x, first = self._values[source, FLOAT32], node.attributes["kind"] == "first"
        if source.prefix or first:
            x = self._rows(x, source.prefix, source.prefix + 1 if first else _END)
        if group:
            return self._group_means(node, x, self._values[group[0], "int32"])
        return x if first else self._op("ReduceMean", x, axes=[1])

    def _group_means(self, node: Node, x: str, group: str) -> str:
        """The mean of each group's rows side by side, (sequences, 1, groups * width): a product with their shares."""
        groups = node.attributes["groups"]
        numbers = self._initializer(np.arange(groups, dtype=np.int32), "groups")
        shares = self._shares(self._cast(self._op("Equal", group, numbers), "bool", FLOAT32))
        return self._reshape(self._op("MatMul", shares, x), 0, 1, node.width)

    def _scattered(self, node: Node) -> str:
        """The mean of each place's source rows, (sequences, latents, width): a product with their shares."""
        x, place = (self._values[source, kind] for source, kind in zip(node.inputs, (FLOAT32, "int32"), strict=True))
        named = self._op("Equal", self._op("Cast", place, to=TensorProto.INT64), self._positions())
        return self._op("MatMul", self._shares(self._cast(named, "bool", FLOAT32)), x)

    def _shares(self, member: str) -> str:
        """What each row is of its group's mean, (sequences, groups, rows), where member (sequences, rows, groups)."""
        counts = self._op("Max", self._op("ReduceSum", member, self._integers(1), keepdims=1), self._scalar(1))
        return self._transpose(self._op("Div", member, counts), 0, 2, 1)

    def _positions(self) -> str:
        """0, 1, 2 and so on, as many as a whole movie has shots."""
        if "positions" not in self._shared:
            zero, one = self._scalar(0, np.int64), self._scalar(1, np.int64)
            self._shared["positions"] = self._op("Range", zero, self._op("Squeeze", self._shots()), one)
        return self._shared["positions"]

    def _size(self, axis: int) -> str:
        """A free size of the inputs: windows or movies along axis 0, a movie's shots along axis 1."""
        shape = self._op("Shape", WINDOWS if self._length else self._graph.inputs[0].name)
        return self._op("Gather", shape, self._integers(axis), axis=0)

    def _repeated(self, rows: Weight, kind: str) -> str:
        """The same rows for every sequence."""
        if "repeats" not in self._shared:
            self._shared["repeats"] = self._op("Concat", self._size(0), self._integers(1, 1), axis=0)
        return self._op("Expand", self._weight(rows, kind), self._shared["repeats"])

    def _tabled(self, node: Node) -> str:
        """Queries, keys and values of every token from tables, (sequences, tokens, 3 width)."""
        table, std = node.inputs
        x = self._op("Gather", self._values[table, self._narrow], WINDOWS, axis=0)
        x = self._op("Add", self._cast(x, self._narrow, FLOAT32), self._weight(node.weights["position"]))
        x = self._op("Mul", x, self._values[std, FLOAT32])
        x = self._op("Add", x, self._weight(node.weights["shift"]))
        return self._prepended(node, x, FLOAT32)

    def _attention(self, node: Node, q: str, k: str, v: str) -> str:
        """q float32, k and v of the compute type: (sequences, rows, width) each, and so is the result."""
        heads = node.attributes["heads"]
        size = node.width // heads
        q, k, v = (self._reshape(x, 0, 0, heads, size) for x in (self._scaled(q, size), k, v))
        weights = self._softmax(self._transpose(q, 0, 2, 1, 3), self._transpose(k, 0, 2, 3, 1))
        rows = self._op("MatMul", weights, self._transpose(v, 0, 2, 1, 3))
        return self._reshape(self._transpose(rows, 0, 2, 1, 3), 0, 0, heads * size)

    def _query_attention(self, node: Node) -> str:
        query, *parts = node.inputs
        heads, width = node.attributes["heads"], parts[0].width
        tokens = self._op("Concat", *(self._values[part, self._narrow] for part in parts), axis=1)
        q = self._reshape(self._scaled(self._values[query, FLOAT32], width // heads), 0, heads, width)
        sums = self._op("MatMul", self._softmax(q, self._transpose(tokens, 0, 2, 1)), tokens)
        return self._reshape(sums, 0, 1, node.width)

    def _scaled(self, q: str, size: int) -> str:
        """Scaled in float32 and before the product, so that no float16 score overflows where its softmax would not."""
        scaled = self._op("Mul", q, self._scalar(size**-0.5))
        return self._cast(scaled, FLOAT32, self._narrow)

    def _softmax(self, q: str, keys: str) -> str:
        scores = self._cast(self._op("MatMul", q, keys), self._narrow, FLOAT32)
        return self._cast(self._op("Softmax", scores, axis=-1), FLOAT32, self._narrow)

    def _outputs(self) -> None:
        """Outputs and their parts by name; one row a sequence makes room for the parts."""
        for output in self._graph.outputs:
            self._scope = output.name
            values = {output.name: self._values[output.node, FLOAT32]}
            if output.parts:
                values[output.name + PARTS] = self._stacked(output.parts)
            for name, value in values.items():
                if output.node.space == "sequences":
                    self._op("Squeeze", value, self._integers(1), out=name)
                else:
                    self._op("Identity", value, out=name)


def _of_features(node: Node) -> bool:
    """Whether rows are made of features alone, or of these and rows of tables, with no normalisation between."""
    inputs = [source for source in node.inputs if source.op != "gather"]
    bounded = node.op in ("layer_norm", "l2_normalise", "gather")
    return node.op == "features" or (not bounded and bool(inputs) and all(map(_of_features, inputs)))

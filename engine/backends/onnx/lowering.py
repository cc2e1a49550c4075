"""The graph's ops as ONNX operators of opset 17, every type explicit.

Products, attention's among them, are of the compute type, and their weights are stored in it. Layer normalisation,
softmax, GELU, the first layer's tables, biases, sums and the head are float32, with a Cast wherever the type changes: a
strongly typed network as it stands. A residual is added in float32 as the products read it, rounded: a float32 copy
beside it would double the memory traffic of those rows, for a tenth less error.

Rows of shots are (shots, width), all others (sequences, rows, width).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from megaseg.engine.graph.graph import Graph, Node, Weight
from megaseg.engine.model.config import ModelConfig
from megaseg.errors import CheckpointError, ResourceLimitError

FLOAT32 = "float32"
TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16}
WINDOWS, LOGITS, CONTRIBUTIONS = "windows", "logits", "contributions"
_MOVED = ("windows", "select", "merge", "join")  # rows go elsewhere and none changes: of any type
_MOST_BYTES = (1 << 31) - (1 << 20)  # of weights: a file ends at 2 GiB
_END = np.iinfo(np.int64).max


def signature(config: ModelConfig) -> tuple[list[ValueInfoProto], list[ValueInfoProto]]:
    """Inputs and outputs of a model, with their sizes by name where they are free."""
    rows = ["windows"] if config.task == "scene" else ["movies", "shots"]
    shots = ["shots"] if config.task == "scene" else rows
    inputs = [
        helper.make_tensor_value_info(modality.name, TensorProto.FLOAT, [*shots, modality.feature_size])
        for modality in config.modalities
    ]
    if config.task == "scene":
        inputs.append(helper.make_tensor_value_info(WINDOWS, TensorProto.INT64, [*rows, config.max_length]))
    sizes = {LOGITS: [config.num_classes], CONTRIBUTIONS: [len(config.modalities), config.num_classes]}
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [*rows, *own]) for name, own in sizes.items()]
    return inputs, outputs


class _Writer:
    """Operators and constants as they come, each under a name of its own."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self._scope = ""  # of names: the node being lowered
        self._names: Counter[str] = Counter()
        self._constants: dict[Any, str] = {}
        self._bytes = 0

    def _name(self, kind: str) -> str:
        name = f"{self._scope}/{kind}"
        self._names[name] += 1
        return name if self._names[name] == 1 else f"{name}_{self._names[name]}"

    def _op(self, kind: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        name = self._name(kind)
        self.nodes.append(helper.make_node(kind, inputs, [out or name], name, **attributes))
        return out or name

    def _split(self, x: str, width: int, parts: int) -> list[str]:
        """Equal parts of x's columns."""
        name = self._name("Split")
        outputs = [f"{name}.{i}" for i in range(parts)]
        self.nodes.append(helper.make_node("Split", [x, self._integers(*[width] * parts)], outputs, name, axis=2))
        return outputs

    def _cast(self, x: str, own: str, to: str) -> str:
        return x if own == to else self._op("Cast", x, to=TYPES[to])

    def _reshape(self, x: str, *sizes: int) -> str:
        """0 keeps a size, -1 is what remains."""
        return self._op("Reshape", x, self._integers(*sizes))

    def _transpose(self, x: str, *order: int) -> str:
        return self._op("Transpose", x, perm=order)

    def _initializer(self, values: NDArray[Any], kind: str) -> str:
        name = self._name(kind)
        self.initializers.append(numpy_helper.from_array(values, name))
        return name

    def _integers(self, *values: int) -> str:
        if values not in self._constants:
            self._constants[values] = self._initializer(np.array(values, np.int64), "integers")
        return self._constants[values]

    def _scalar(self, value: float, dtype: type[np.generic] = np.float32) -> str:
        key = (value, dtype)
        if key not in self._constants:
            self._constants[key] = self._initializer(np.array(value, dtype), "scalar")
        return self._constants[key]

    def _weight(self, weight: Weight, kind: str = FLOAT32, order: tuple[int, ...] | None = None) -> str:
        """Values of a weight in a type, its axes in another order if given."""
        key = (weight, kind, order)
        if key not in self._constants:
            with np.errstate(over="ignore"):  # found below
                values = weight.read().astype(helper.tensor_dtype_to_np_dtype(TYPES[kind]))
                values = values if order is None else np.ascontiguousarray(values.transpose(order))
            name = self._constants[key] = self._initializer(values, "weight")
            if not np.isfinite(values.astype(np.float32)).all():
                raise CheckpointError(f"{name}: expected finite values in {kind}, got NaN, Inf or an overflow")
            self._bytes += values.nbytes
            if self._bytes > _MOST_BYTES:
                raise ResourceLimitError(f"ONNX: expected at most {_MOST_BYTES} bytes of weights in a file, got more")
        return self._constants[key]


class OnnxLowering(_Writer):
    """``nodes`` and ``initializers`` of a graph for products of one type."""

    def __init__(self, graph: Graph, compute_type: str) -> None:
        super().__init__()
        self._graph, self._config, self._narrow = graph, graph.config, compute_type
        self._scene = graph.config.task == "scene"
        self._values: dict[tuple[Node, str], str] = {}  # a node's rows in a type
        self._shared: dict[Any, str] = {}  # what several nodes compute
        wanted = self._wanted()
        for index, node in enumerate(graph.nodes()):
            self._scope = f"{node.op}_{index}"
            self._lower(node, sorted(wanted[node]))

    def _wanted(self) -> dict[Node, set[str]]:
        """The types that a node's readers read it in."""
        nodes = list(self._graph.nodes())
        wanted: dict[Node, set[str]] = {node: set() for node in nodes}
        for node in reversed(nodes):
            for source, kinds in zip(node.inputs, self._reads(node, wanted[node]), strict=True):
                wanted[source] |= kinds
        return wanted

    def _reads(self, node: Node, own: set[str]) -> list[set[str]]:
        """The types that a node reads its inputs in; ``own`` are those that it is read in itself."""
        wide, narrow = {FLOAT32}, {self._narrow}
        match node.op:
            case op if op in _MOVED:
                return [own] * len(node.inputs)
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
        """What a linear layer multiplies: float32 in the head, whose sums are handed out by modality."""
        return FLOAT32 if node in self._graph.logits.inputs else self._narrow

    def _lower(self, node: Node, kinds: Sequence[str]) -> None:
        if node.op == "add":
            self._outputs(node)
        elif node.op in _MOVED:
            for kind in kinds:
                self._values[node, kind] = self._moved(node, [self._values[source, kind] for source in node.inputs])
        elif node.op == "embed":
            latents = self._op("Mul", self._centred(node), self._inverse_sigma(node))
            latents = self._op("Mul", latents, self._weight(node.weights["gamma"]))
            latents = self._op("Add", latents, self._weight(node.weights["beta"]))
            for kind in kinds:
                bottlenecks = self._repeated(node.weights["bottleneck"], kind)
                self._values[node, kind] = self._op("Concat", bottlenecks, self._cast(latents, FLOAT32, kind), axis=1)
        else:
            rows, own = self._computed(node)
            for kind in kinds:
                self._values[node, kind] = self._cast(rows, own, kind)

    def _moved(self, node: Node, inputs: Sequence[str]) -> str:
        if node.op == "windows":
            return self._op("Gather", inputs[0], WINDOWS, axis=0)
        if node.op != "select":
            return self._op("Concat", *inputs, axis=1)
        tokens = node.inputs[0].tokens
        middle = tokens + self._config.max_length // 2
        ends = {"bottlenecks": (0, tokens), "latents": (tokens, _END), "centres": (middle, middle + 1)}
        begin, end = ends[node.space]
        return self._op("Slice", inputs[0], *(self._integers(value) for value in (begin, end, 1)))

    def _computed(self, node: Node) -> tuple[str, str]:
        """A node's rows, and the type that they come in."""
        match node.op:
            case "features":
                return self._config.modalities[node.attributes["modality"]].name, FLOAT32
            case "linear":
                return self._linear(node)
            case "head_linear":
                return self._head_linear(node), self._narrow
            case "layer_norm":
                return self._layer_norm(self._values[node.inputs[0], FLOAT32], node), FLOAT32
            case "inverse_sigma":
                return self._inverse_sigma(node), FLOAT32
            case "attention":
                q, kv = node.inputs
                parts = self._split(self._values[kv, self._narrow], node.width, 2)
                return self._attention(self._values[q, FLOAT32], *parts), self._narrow
            case "window_attention":
                query, *parts = self._split(self._tabled(node), node.width, 3)
                return self._attention(query, *(self._cast(x, FLOAT32, self._narrow) for x in parts)), self._narrow
            case "query_attention":
                return self._query_attention(node), self._narrow
            case op:
                raise AssertionError(f"no ONNX form of op {op}")

    def _linear(self, node: Node) -> tuple[str, str]:
        kind, bias, gelu = self._product(node), node.weights.get("bias"), node.attributes["gelu"]
        x, *residual = node.inputs
        y = self._op("MatMul", self._values[x, kind], self._weight(node.weights["weight"], kind, (1, 0)))
        if bias is None and not residual and not gelu:
            return y, kind
        y = self._cast(y, kind, FLOAT32)
        if bias is not None:
            y = self._op("Add", y, self._weight(bias))
        for source in residual:
            y = self._op("Add", y, self._cast(self._values[source, self._narrow], self._narrow, FLOAT32))
        return self._gelu(y) if gelu else y, FLOAT32

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
        parts = [self._weight(node.weights[name]) for name in ("gamma", "beta")]
        return self._op("LayerNormalization", x, *parts, axis=-1, epsilon=self._config.layer_norm_eps)

    def _inverse_sigma(self, node: Node) -> str:
        """``sqrt(v) / v`` of v = variance + eps: NaN where it overflows, where a reciprocal would be 0."""
        key = ("inverse_sigma", *self._rows_of(node))
        if key not in self._shared:
            x = self._centred(node)
            variance = self._op("ReduceMean", self._op("Mul", x, x), axes=[2])
            v = self._op("Add", variance, self._scalar(self._config.layer_norm_eps))
            self._shared[key] = self._op("Div", self._op("Sqrt", v), v)
        return self._shared[key]

    def _centred(self, node: Node) -> str:
        """What ``embed`` normalises, less its mean."""
        key = ("centred", *self._rows_of(node))
        if key not in self._shared:
            x = self._embedded(node)
            self._shared[key] = self._op("Sub", x, self._op("ReduceMean", x, axes=[2]))
        return self._shared[key]

    @staticmethod
    def _rows_of(node: Node) -> tuple[Node, Weight, Weight]:
        """What decides the rows that ``embed`` normalises."""
        return node.inputs[0], node.weights["position"], node.weights["align"]

    def _embedded(self, node: Node) -> str:
        """What ``embed`` normalises: windows of projected shots, or latents, and their places' embeddings."""
        source, position, align = self._rows_of(node)
        x = self._values[source, FLOAT32]
        rows = self._op("Gather", x, WINDOWS, axis=0) if source.space == "shots" else x
        return self._op("Add", rows, self._places(position, align))

    def _places(self, position: Weight, align: Weight) -> str:
        """Position and alignment embeddings of every latent, (latents, width)."""
        if self._scene:
            slots = np.arange(self._config.max_length) * align.shape[0] // self._config.max_length
            return self._weight(Weight(position.shape, lambda: position.double() + align.double()[slots]))
        if "slots" not in self._shared:
            shots = self._shared["shots"] = self._size(1)
            zero, one = self._scalar(0, np.int64), self._scalar(1, np.int64)
            places = self._op("Range", zero, self._op("Squeeze", shots), one)
            self._shared["slots"] = self._op("Div", self._op("Mul", places, self._integers(align.shape[0])), shots)
        first = self._op("Slice", self._weight(position), self._integers(0), self._shared["shots"], self._integers(0))
        return self._op("Add", first, self._op("Gather", self._weight(align), self._shared["slots"], axis=0))

    def _size(self, axis: int) -> str:
        """A free size of the inputs: windows or movies along axis 0, a movie's shots along axis 1."""
        shape = self._op("Shape", WINDOWS if self._scene else self._config.modalities[0].name)
        return self._op("Gather", shape, self._integers(axis), axis=0)

    def _repeated(self, rows: Weight, kind: str) -> str:
        """The same rows for every sequence."""
        if "repeats" not in self._shared:
            self._shared["repeats"] = self._op("Concat", self._size(0), self._integers(1, 1), axis=0)
        return self._op("Expand", self._weight(rows, kind), self._shared["repeats"])

    def _tabled(self, node: Node) -> str:
        """Queries, keys and values of every token from tables, (sequences, tokens, 3 width)."""
        table, sigma = node.inputs
        x = self._op("Gather", self._values[table, self._narrow], WINDOWS, axis=0)
        x = self._op("Add", self._cast(x, self._narrow, FLOAT32), self._weight(node.weights["position"]))
        x = self._op("Mul", x, self._values[sigma, FLOAT32])
        x = self._op("Add", x, self._weight(node.weights["shift"]))
        return self._op("Concat", self._repeated(node.weights["bottleneck"], FLOAT32), x, axis=1)

    def _attention(self, q: str, k: str, v: str) -> str:
        """q float32, k and v of the compute type: (sequences, rows, width) each, and so is the result."""
        heads, size = self._config.num_heads, self._config.head_size
        q, k, v = (self._reshape(x, 0, 0, heads, size) for x in (self._scaled(q), k, v))
        weights = self._softmax(self._transpose(q, 0, 2, 1, 3), self._transpose(k, 0, 2, 3, 1))
        rows = self._op("MatMul", weights, self._transpose(v, 0, 2, 1, 3))
        return self._reshape(self._transpose(rows, 0, 2, 1, 3), 0, 0, heads * size)

    def _query_attention(self, node: Node) -> str:
        query, *parts = node.inputs
        tokens = self._op("Concat", *(self._values[part, self._narrow] for part in parts), axis=1)
        q = self._reshape(self._scaled(self._values[query, FLOAT32]), 0, self._config.num_heads, parts[0].width)
        sums = self._op("MatMul", self._softmax(q, self._transpose(tokens, 0, 2, 1)), tokens)
        return self._reshape(sums, 0, 1, node.width)

    def _scaled(self, q: str) -> str:
        """Scaled in float32 and before the product, so that no float16 score overflows where its softmax would not."""
        scaled = self._op("Mul", q, self._scalar(self._config.head_size**-0.5))
        return self._cast(scaled, FLOAT32, self._narrow)

    def _softmax(self, q: str, keys: str) -> str:
        scores = self._cast(self._op("MatMul", q, keys), self._narrow, FLOAT32)
        return self._cast(self._op("Softmax", scores, axis=-1), FLOAT32, self._narrow)

    def _outputs(self, node: Node) -> None:
        """Logits and what each modality contributes; a window's only row makes room for the modalities."""
        axis = 1 if self._scene else 2
        parts = [self._values[source, FLOAT32] for source in node.inputs]
        if not self._scene:
            parts = [self._op("Unsqueeze", part, self._integers(axis)) for part in parts]
        parts_of = self._op("Concat", *parts, out=CONTRIBUTIONS, axis=axis)
        total = self._op("ReduceSum", parts_of, self._integers(axis), keepdims=0)
        self._op("Add", total, self._weight(node.weights["bias"]), out=LOGITS)

"""The model as a graph of ops, built from a checkpoint: what the passes rewrite and every backend lowers.

A node is one op and the matrix that it gives. Its rows live in a space:

======================  =========================================================================================
space                   rows
======================  =========================================================================================
``shots``               one per shot of the movie
``latents``             one per position of every sequence: windows * L (scene), the movie's shots (act, synopsis)
``bottlenecks``         ``tokens`` per sequence
``tokens``              both: every sequence's bottleneck tokens, then every sequence's latents
``centres``             one per window: the position in its middle
======================  =========================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.config import ModelConfig

Array = NDArray[Any]
SPACES = ("shots", "latents", "bottlenecks", "tokens", "centres")


@dataclass(frozen=True, eq=False, slots=True)
class Weight:
    """A constant that is computed when it is read, so that a graph of any size weighs nothing."""

    shape: tuple[int, ...]
    read: Callable[[], Array]

    def double(self) -> NDArray[np.float64]:
        """The values in the precision that passes compute in."""
        return np.asarray(self.read(), np.float64)

    def rows(self, begin: int, end: int) -> Weight:
        """Rows begin to end."""
        return Weight((end - begin, *self.shape[1:]), lambda: self.read()[begin:end])

    def columns(self, begin: int, end: int) -> Weight:
        """Columns begin to end of a matrix."""
        return Weight((self.shape[0], end - begin), lambda: self.read()[:, begin:end])


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """One op. ``tokens`` is the number of bottleneck tokens per sequence in spaces that hold any."""

    op: str
    inputs: tuple[Node, ...]
    space: str
    width: int
    tokens: int = 0
    weights: Mapping[str, Weight] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Graph:
    """A model: its config and the node that gives the logits, (shots, num_classes).

    That node adds up its inputs, each the contribution of one modality to the logits, in the config's order.
    """

    config: ModelConfig
    logits: Node

    def nodes(self) -> Iterator[Node]:
        """Every node after its inputs, each once."""
        seen: set[Node] = set()
        stack = [(self.logits, False)]
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


def features(index: int, width: int, space: str) -> Node:
    """The features of modality ``index``."""
    return Node("features", (), space, width, attributes={"modality": index})


def windows(x: Node) -> Node:
    """Rows of shots to rows of latents: every shot's centred window, edge shots repeated."""
    return Node("windows", (x,), "latents", x.width)


def linear(
    x: Node, weight: Weight, bias: Weight | None = None, *, residual: Node | None = None, gelu: bool = False
) -> Node:
    """``activation(x W^T + bias + residual)``, W (n, k)."""
    inputs = (x,) if residual is None else (x, residual)
    weights = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    return Node("linear", inputs, x.space, weight.shape[0], x.tokens, weights, {"gelu": gelu})


def head_linear(x: Node, weight: Weight) -> Node:
    """A linear layer per head on its own columns: W (heads, n, k), x (rows, heads * k) to (rows, heads * n)."""
    return Node("head_linear", (x,), x.space, weight.shape[0] * weight.shape[1], x.tokens, {"weight": weight})


def layer_norm(x: Node, gamma: Weight, beta: Weight) -> Node:
    """Layer normalisation of every row."""
    return Node("layer_norm", (x,), x.space, x.width, x.tokens, {"gamma": gamma, "beta": beta})


def embed(x: Node, position: Weight, align: Weight, gamma: Weight, beta: Weight, bottleneck: Weight) -> Node:
    """Tokens before the first layer: bottleneck tokens, then LayerNorm(x + position[j] + align[floor(j L_n / n)]).

    x holds projected features of shots (the windows are taken here) or of latents.
    """
    weights = {"position": position, "align": align, "gamma": gamma, "beta": beta, "bottleneck": bottleneck}
    return Node("embed", (x,), "tokens", x.width, align.shape[0], weights)


def inverse_sigma(x: Node, position: Weight, align: Weight) -> Node:
    """``1 / sqrt(variance + eps)`` of the rows that ``embed`` normalises, for x of shots."""
    return Node("inverse_sigma", (x,), "latents", 1, align.shape[0], {"position": position, "align": align})


def select(x: Node, space: str) -> Node:
    """Rows of a smaller space."""
    if x.op == "select":
        return select(x.inputs[0], space)
    if x.op == "join":
        part = x.inputs[0] if space == "bottlenecks" else x.inputs[1]
        return part if part.space == space else select(part, space)
    return Node("select", (x,), space, x.width, x.tokens if space == "bottlenecks" else 0)


def merge(parts: tuple[Node, ...]) -> Node:
    """Bottleneck tokens of several modalities, one after the other in every sequence."""
    return Node("merge", parts, "bottlenecks", parts[0].width, sum(part.tokens for part in parts))


def join(bottlenecks: Node, latents: Node) -> Node:
    """Bottleneck tokens and latents as one matrix of tokens."""
    return Node("join", (bottlenecks, latents), "tokens", latents.width, bottlenecks.tokens)


def attention(q: Node, kv: Node) -> Node:
    """``softmax(q k^T / sqrt(d)) v`` of every sequence and head; kv holds keys, then values."""
    return Node("attention", (q, kv), q.space, q.width, q.tokens)


def window_attention(table: Node, sigma: Node, tables: Mapping[str, Weight], like: Node) -> Node:
    """Self-attention of windows whose queries, keys and values are (table[shot] + position[j]) * sigma + shift.

    Tables: position (L, 3 C), shift (3 C,), and the bottleneck tokens' own (L_n, 3 C). ``like`` has the result's rows.
    """
    return Node("window_attention", (table, sigma), like.space, like.width, like.tokens, tables)


def query_attention(query: Node, bottlenecks: Node, latents: Node) -> Node:
    """``softmax_t(query_h . token_t / sqrt(d))`` times the tokens themselves, per window and head."""
    return Node("query_attention", (query, bottlenecks, latents), "centres", query.width)


def add(parts: tuple[Node, ...], bias: Weight) -> Node:
    """The sum of several nodes and a bias."""
    return Node("add", parts, parts[0].space, parts[0].width, weights={"bias": bias})


def centred(weight: Weight, channels: int) -> Weight:
    """What a layer normalisation alone reads, less its mean over axis ``channels``, which is taken away there anyway.

    The function stays the same, and rows of narrow types spend no digits on an offset common to all channels.
    """

    def read() -> NDArray[np.float64]:
        values = weight.double()
        for _ in range(2):  # the first mean is rounded to the digits of the offset
            values = values - values.mean(axis=channels, keepdims=True)
        return values

    return Weight(weight.shape, read)


def encoder_layer(h: Node, tensor: Callable[[str], Weight], prefix: str) -> Node:
    """A post-norm encoder layer: ``h = LN1(h + attention(h)); h = LN2(h + W2 gelu(W1 h + b1) + b2)``."""
    c = h.width
    weight, bias = tensor(f"{prefix}.self_attn.in_proj_weight"), tensor(f"{prefix}.self_attn.in_proj_bias")

    def named(name: str) -> tuple[Weight, Weight]:
        return tensor(f"{prefix}.{name}.weight"), tensor(f"{prefix}.{name}.bias")

    q = linear(h, weight.rows(0, c), bias.rows(0, c))
    kv = linear(h, weight.rows(c, 3 * c), bias.rows(c, 3 * c))

    def summed(name: str) -> tuple[Weight, Weight]:
        own, shift = named(name)
        return centred(own, 0), centred(shift, 0)

    h = layer_norm(linear(attention(q, kv), *summed("self_attn.out_proj"), residual=h), *named("norm1"))
    hidden = linear(h, *named("linear1"), gelu=True)
    return layer_norm(linear(hidden, *summed("linear2"), residual=h), *named("norm2"))


def build(checkpoint: Checkpoint) -> Graph:
    """The model as written (supplementary, Table 1a): every window from its own features, every row of every layer."""
    config = checkpoint.config
    shapes = config.tensor_shapes()

    def tensor(name: str) -> Weight:
        return Weight(shapes[name], lambda: checkpoint.tensors[name])

    align = tensor("align.weight")
    scene = config.task == "scene"
    encoded = []
    for index, modality in enumerate(config.modalities):
        prefix = f"modalities.{modality.name}"
        source = features(index, modality.feature_size, "shots" if scene else "latents")
        projection = (centred(tensor(f"{prefix}.proj.{part}"), 0) for part in ("weight", "bias"))
        x = linear(windows(source) if scene else source, *projection)
        h = embed(
            x,
            centred(tensor(f"{prefix}.position.weight"), 1),
            centred(align, 1),
            tensor(f"{prefix}.norm.weight"),
            tensor(f"{prefix}.norm.bias"),
            _sum(tensor(f"{prefix}.bottleneck"), align),
        )
        for i in range(config.num_unimodal_layers):
            h = encoder_layer(h, tensor, f"{prefix}.unimodal.{i}")
        encoded.append(h)
    bottlenecks = merge(tuple(select(h, "bottlenecks") for h in encoded))
    fused = []
    for modality, h in zip(config.modalities, encoded, strict=True):
        g = select(h, "latents")
        if config.num_fusion_layers:
            g = join(bottlenecks, g)
            for i in range(config.num_fusion_layers):
                g = encoder_layer(g, tensor, f"modalities.{modality.name}.fusion.{i}")
            g = select(g, "latents")
        fused.append(select(g, "centres") if scene else g)
    # W [a_1; a_2; ...] + b with every modality's columns of W by themselves: what it contributes is there to be read.
    head, c = tensor("head.weight"), config.hidden_size
    contributions = tuple(linear(x, head.columns(m * c, (m + 1) * c)) for m, x in enumerate(fused))
    return Graph(config, add(contributions, tensor("head.bias")))


def _sum(a: Weight, b: Weight) -> Weight:
    return Weight(a.shape, lambda: a.double() + b.double())

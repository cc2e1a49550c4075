"""The ops of the graph: what holds of each whatever its node, and a constructor for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from megaseg.engine.graph.graph import Node, Weight

ACTIVATIONS = ("none", "gelu", "relu", "tanh")
TABLES = ("position", "slot")  # what says which row of a table a position reads
POOLS = ("mean", "first")


@dataclass(frozen=True, slots=True)
class Op:
    """What holds of every node of an op.

    ``attributes`` are the numbers of its nodes and ``weights`` their constants, both in the order of compiled programs.
    ``moves``: rows go elsewhere and none changes, so that the result has the type of its input. ``row_wise``: a row of
    the result depends on the same row of each input alone. ``product``: multiplies in the compute type. ``exact``: the
    result is float32 whatever the compute type.
    """

    attributes: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    moves: bool = False
    row_wise: bool = False
    product: bool = False
    exact: bool = False


OPS: dict[str, Op] = {
    "features": Op(("modality",), exact=True),
    "windows": Op(moves=True),
    "linear": Op(("activation",), ("weight", "bias"), row_wise=True, product=True),
    "head_linear": Op(("heads",), ("weight",), product=True),
    "layer_norm": Op(("eps",), ("gamma", "beta"), row_wise=True),
    "add_table": Op(("by", "slots"), ("table",), exact=True),
    "prepend": Op((), ("prefix",)),
    "embed": Op(("eps", "slots"), ("position", "align", "gamma", "beta", "prefix")),
    "inverse_std": Op(("eps", "slots"), ("position", "align"), exact=True),
    "select": Op(moves=True),
    "merge": Op(moves=True),
    "join": Op(moves=True),
    "attention": Op(("heads",)),
    "window_attention": Op(("heads",), ("position", "shift", "prefix")),
    "query_attention": Op(("heads",)),
    "add": Op((), ("bias",), row_wise=True, exact=True),
    "pool": Op(("kind", "groups"), exact=True),
    "l2_normalise": Op(("eps",), row_wise=True, exact=True),
    "concat": Op(moves=True, row_wise=True),
    "scatter_mean": Op(exact=True),
    "gather": Op((), ("table",), exact=True),
}


def features(index: int, width: int, space: str) -> Node:
    """The features of the model's input ``index``."""
    return Node("features", (), space, width, attributes={"modality": index})


def windows(x: Node) -> Node:
    """Rows of shots to rows of latents: every shot's centred window, edge shots repeated."""
    return Node("windows", (x,), "latents", x.width)


def linear(
    x: Node, weight: Weight, bias: Weight | None = None, *, residual: Node | None = None, activation: str = "none"
) -> Node:
    """``activation(x W^T + bias + residual)``, W (n, k)."""
    inputs = (x,) if residual is None else (x, residual)
    weights = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    return Node("linear", inputs, x.space, weight.shape[0], x.prefix, weights, {"activation": activation})


def head_linear(x: Node, weight: Weight) -> Node:
    """A linear layer per head on its own columns: W (heads, n, k), x (rows, heads * k) to (rows, heads * n)."""
    heads, size, _ = weight.shape
    return Node("head_linear", (x,), x.space, heads * size, x.prefix, {"weight": weight}, {"heads": heads})


def layer_norm(x: Node, gamma: Weight, beta: Weight, eps: float) -> Node:
    """Layer normalisation of every row."""
    return Node("layer_norm", (x,), x.space, x.width, x.prefix, {"gamma": gamma, "beta": beta}, {"eps": eps})


def add_table(x: Node, table: Weight, by: str = "position") -> Node:
    """``x[j] + table[j]`` of every latent at position j, or ``x[j] + table[floor(j slots / n)]`` by alignment slot.

    x holds rows of latents, or of shots, whose windows are taken here.
    """
    slots = table.shape[0] if by == "slot" else 0
    return Node("add_table", (x,), "latents", x.width, 0, {"table": table}, {"by": by, "slots": slots})


def prepend(x: Node, prefix: Weight) -> Node:
    """The same prefix tokens (p, width) before the latents of every sequence."""
    return Node("prepend", (x,), "tokens", x.width, prefix.shape[0], {"prefix": prefix})


def embed(x: Node, weights: Mapping[str, Weight], eps: float) -> Node:
    """``prepend(LayerNorm(x + position[j] + align[slot(j)]), prefix)`` in one (pass ``fused_embedding``).

    x as of ``add_table``. Weights: position (length, C), align (slots, C), gamma, beta (C,), prefix (p, C).
    """
    attributes = {"eps": eps, "slots": weights["align"].shape[0]}
    return Node("embed", (x,), "tokens", x.width, weights["prefix"].shape[0], weights, attributes)


def inverse_std(embedded: Node) -> Node:
    """``1 / sqrt(variance + eps)`` of the rows that an ``embed`` of shots normalises."""
    weights = {name: embedded.weights[name] for name in ("position", "align")}
    return Node("inverse_std", embedded.inputs, "latents", 1, 0, weights, embedded.attributes)


def select(x: Node, space: str) -> Node:
    """Rows of a smaller space: ``prefix`` or ``latents`` of tokens, or ``sequences``.

    Of ``sequences`` there is one row a sequence: of prefix rows the only prefix token, else the middle of every window.
    """
    if x.space == space:
        return x
    if x.op == "select" and x.space == "latents" and space == "sequences":
        return select(x.inputs[0], space)
    if x.op == "join":
        part = x.inputs[0] if space == "prefix" else x.inputs[1]
        return part if part.space == space else select(part, space)
    return Node("select", (x,), space, x.width, x.prefix if space == "prefix" else 0)


def merge(parts: tuple[Node, ...]) -> Node:
    """Prefix tokens of several nodes, one after the other in every sequence."""
    return Node("merge", parts, "prefix", parts[0].width, sum(part.prefix for part in parts))


def join(prefix: Node, latents: Node) -> Node:
    """Prefix tokens and latents as one matrix of tokens."""
    return Node("join", (prefix, latents), "tokens", latents.width, prefix.prefix)


def attention(q: Node, kv: Node, heads: int) -> Node:
    """``softmax(q k^T / sqrt(d)) v`` of every sequence and head; kv holds keys, then values.

    Queries of latents or of source rows may read keys of the other: their numbers differ.
    """
    return Node("attention", (q, kv), q.space, q.width, q.prefix, attributes={"heads": heads})


def window_attention(table: Node, std: Node, tables: Mapping[str, Weight], like: Node) -> Node:
    """Self-attention of windows whose queries, keys and values are (table[shot] + position[j]) * inverse_std + shift.

    Tables: position (length, 3 C), shift (3 C,), and the prefix tokens' own (p, 3 C). ``like`` is the attention that
    the node stands for.
    """
    attributes = {"heads": like.attributes["heads"]}
    return Node("window_attention", (table, std), like.space, like.width, like.prefix, tables, attributes)


def query_attention(query: Node, prefix: Node, latents: Node, heads: int) -> Node:
    """``softmax_t(query_h . token_t / sqrt(d))`` times the tokens themselves, per window and head."""
    return Node("query_attention", (query, prefix, latents), "sequences", query.width, attributes={"heads": heads})


def add(parts: tuple[Node, ...], bias: Weight | None = None) -> Node:
    """The sum of several nodes' rows, and a bias."""
    first = parts[0]
    return Node("add", parts, first.space, first.width, first.prefix, {} if bias is None else {"bias": bias})


def pool(x: Node, kind: str = "mean", *, by: Node | None = None, groups: int = 1) -> Node:
    """One row a sequence: the mean of its latents, or the first of them.

    With ``by``, int32 features of width 1 that say which of ``groups`` a latent belongs to: the mean of each group side
    by side, (sequences, groups * width), zeros for a group without latents.
    """
    inputs = (x,) if by is None else (x, by)
    return Node("pool", inputs, "sequences", groups * x.width, attributes={"kind": kind, "groups": groups})


def concat(parts: tuple[Node, ...]) -> Node:
    """Columns of several nodes of one space side by side."""
    first = parts[0]
    return Node("concat", parts, first.space, sum(part.width for part in parts), first.prefix)


def scatter_mean(x: Node, by: Node) -> Node:
    """Source rows to latents: at each place the mean of the rows that name it, zeros where none does.

    ``by``, int32 features of width 1, names a row's place in its sequence; others than its places name none.
    """
    return Node("scatter_mean", (x, by), "latents", x.width)


def l2_normalise(x: Node, eps: float = 1e-12) -> Node:
    """``x / max(|x|, eps)`` of every row."""
    return Node("l2_normalise", (x,), x.space, x.width, x.prefix, attributes={"eps": eps})


def gather(ids: Node, table: Weight) -> Node:
    """The rows of a table (rows, C) that int32 features of width 1 name."""
    return Node("gather", (ids,), ids.space, table.shape[1], 0, {"table": table})

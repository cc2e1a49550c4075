"""What each op of the graph means, in plain torch and in the precision of its arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from megaseg.engine.graph.graph import Graph, Node
from megaseg.engine.graph.sequences import alignment_slots

Weights = Mapping[Node, Mapping[str, Tensor]]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "gelu": functional.gelu,
    "relu": functional.relu,
    "tanh": torch.tanh,
}


class Evaluation:
    """One movie on its way through a graph.

    Rows of shots are (shots, width), all others (sequences, rows per sequence, width).
    """

    def __init__(self, graph: Graph, weights: Weights, features: list[Tensor]) -> None:
        self._nodes = list(graph.nodes())
        self._weights, self._features = weights, features
        self._shots: dict[Node, Tensor] = {}  # computed once, read by every batch

    def rows(self, wanted: Sequence[Node], shots: Tensor) -> list[Tensor]:
        """Rows (rows, width) of nodes for one batch of sequences, given by their shots' indices (sequences, length)."""
        values: dict[Node, Tensor] = {}
        for node in self._nodes:
            if node not in self._shots:
                inputs = [self._shots[x] if x in self._shots else values[x] for x in node.inputs]
                kept = self._shots if node.space == "shots" else values
                kept[node] = self._evaluate(node, shots, inputs)
        return [values[node].flatten(0, 1) for node in wanted]

    def _evaluate(self, node: Node, shots: Tensor, inputs: list[Tensor]) -> Tensor:
        if node.op == "features":
            own: Tensor = self._features[node.attributes["modality"]]
            if node.space == "source":
                return own[None]
            return own if node.space == "shots" else own[shots]
        return MEANINGS[node.op](node, shots, inputs, self._weights[node])


def _windows(node: Node, shots: Tensor, x: list[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    return x[0][shots]


def _gather(node: Node, shots: Tensor, x: list[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    return weights["table"][x[0][..., 0].long()]


def _linear(node: Node, shots: Tensor, x: list[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    out = functional.linear(x[0], weights["weight"], weights.get("bias"))
    return ACTIVATIONS[node.attributes["activation"]](out if len(x) == 1 else out + x[1])


def _head_linear(node: Node, shots: Tensor, x: list[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    by_head = _by_head(x[0], node.attributes["heads"])
    return torch.einsum("bqhk,hnk->bqhn", by_head, weights["weight"]).flatten(2)


def _layer_norm(node: Node, shots: Tensor, x: list[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    return _normalised(x[0], weights, node.attributes["eps"])


def _add_table(node: Node, shots: Tensor, x: list[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    return _with_table(_latents(x[0], shots), weights["table"], node.attributes["by"])


def _prepend(node: Node, shots: Tensor, x: list[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    return _with_prefix(weights["prefix"], x[0])


def _embed(node: Node, shots: Tensor, x: list[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    rows = _normalised(_embedded(x[0], shots, weights), weights, node.attributes["eps"])
    return _with_prefix(weights["prefix"], rows)


def _inverse_std(node: Node, shots: Tensor, x: list[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    variance = _embedded(x[0], shots, weights).var(dim=2, correction=0, keepdim=True)
    return torch.rsqrt(variance + node.attributes["eps"]) + 0 * variance


def _select(node: Node, shots: Tensor, x: list[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    prefix = node.inputs[0].prefix
    if node.space == "prefix" or node.inputs[0].space == "prefix":
        return x[0][:, :prefix]
    latents = x[0][:, prefix:]
    middle = latents.shape[1] // 2
    return latents if node.space == "latents" else latents[:, middle : middle + 1]


def _concatenated(node: Node, shots: Tensor, x: list[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    return torch.cat(x, dim=1)


def _add(node: Node, shots: Tensor, x: list[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    total = torch.stack(x).sum(dim=0)
    return total + weights["bias"] if weights else total


def _pool(node: Node, shots: Tensor, x: list[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    latents = x[0][:, node.inputs[0].prefix :]
    if node.attributes["kind"] == "first":
        return latents[:, :1]
    if len(x) == 1:
        return latents.mean(dim=1, keepdim=True)
    member = functional.one_hot(x[1][..., 0].long(), node.attributes["groups"]).to(latents.dtype)
    shares = member / member.sum(dim=1, keepdim=True).clamp(min=1)  # (sequences, latents, groups)
    return (shares.transpose(1, 2) @ latents).flatten(1)[:, None]


def _l2_normalise(node: Node, shots: Tensor, x: list[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    return functional.normalize(x[0], dim=-1, eps=node.attributes["eps"])


def _concat(node: Node, shots: Tensor, x: list[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    return torch.cat(x, dim=-1)


def _scatter_mean(node: Node, shots: Tensor, x: list[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    rows, places, length = x[0][0], x[1][0, :, 0].long(), shots.shape[1]
    there = (places >= 0) & (places < length)
    rows, places = rows[there], places[there]
    counts = torch.bincount(places, minlength=length).clamp(min=1)[:, None]
    return (rows.new_zeros(length, rows.shape[1]).index_add(0, places, rows) / counts)[None]


def _attention(node: Node, shots: Tensor, x: list[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    return _attended(node.attributes["heads"], x[0], *x[1].chunk(2, dim=2))


def _window_attention(node: Node, shots: Tensor, x: list[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    latents = (x[0][shots] + weights["position"]) * x[1] + weights["shift"]
    return _attended(node.attributes["heads"], *_with_prefix(weights["prefix"], latents).chunk(3, dim=2))


def _query_attention(node: Node, shots: Tensor, x: list[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    heads, tokens = node.attributes["heads"], torch.cat(x[1:], dim=1)
    query = _by_head(x[0], heads)[:, 0]
    scores = query @ tokens.transpose(1, 2) * (tokens.shape[2] // heads) ** -0.5
    sums: Tensor = (scores.softmax(dim=2) @ tokens).flatten(1)
    return sums[:, None]


MEANINGS: dict[str, Callable[[Node, Tensor, list[Tensor], Mapping[str, Tensor]], Tensor]] = {
    "windows": _windows,
    "gather": _gather,
    "linear": _linear,
    "head_linear": _head_linear,
    "layer_norm": _layer_norm,
    "add_table": _add_table,
    "prepend": _prepend,
    "embed": _embed,
    "inverse_std": _inverse_std,
    "select": _select,
    "merge": _concatenated,
    "join": _concatenated,
    "add": _add,
    "pool": _pool,
    "l2_normalise": _l2_normalise,
    "concat": _concat,
    "scatter_mean": _scatter_mean,
    "attention": _attention,
    "window_attention": _window_attention,
    "query_attention": _query_attention,
}


def _normalised(x: Tensor, weights: Mapping[str, Tensor], eps: float) -> Tensor:
    """NaN for rows whose variance leaves the range of the type: torch would give beta."""
    out, _, inverse = torch.native_layer_norm(x, x.shape[-1:], weights["gamma"], weights["beta"], eps)
    overflow = ~(inverse > 0)
    return out.masked_fill_(overflow, torch.nan) if overflow.any() else out


def _latents(x: Tensor, shots: Tensor) -> Tensor:
    """Rows of latents; of shots their windows."""
    return x[shots] if x.dim() == 2 else x


def _with_table(x: Tensor, table: Tensor, by: str) -> Tensor:
    length = x.shape[1]
    if by == "position":
        return x + table[:length]
    return x + table[torch.from_numpy(alignment_slots(length, len(table))).to(x.device)]


def _with_prefix(prefix: Tensor, latents: Tensor) -> Tensor:
    return torch.cat([prefix.expand(len(latents), -1, -1), latents], dim=1)


def _embedded(x: Tensor, shots: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    """What ``embed`` normalises."""
    return _with_table(_with_table(_latents(x, shots), weights["position"], "position"), weights["align"], "slot")


def _by_head(x: Tensor, heads: int) -> Tensor:
    return x.reshape(*x.shape[:2], heads, -1)


def _attended(heads: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (_by_head(x, heads).transpose(1, 2) for x in (q, k, v))
    return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)

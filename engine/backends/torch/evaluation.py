"""What each op of the graph means, in plain torch and in the precision of its arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from megaseg.engine.graph.graph import Graph, Node

Weights = Mapping[Node, Mapping[str, Tensor]]


class Evaluation:
    """One movie on its way through a graph.

    Rows of shots are (shots, width), all others (sequences, rows per sequence, width).
    """

    def __init__(self, graph: Graph, weights: Weights, features: list[Tensor]) -> None:
        self._nodes = list(graph.nodes())
        self._heads, self._eps = graph.config.num_heads, graph.config.layer_norm_eps
        self._weights, self._features = weights, features
        self._shots: dict[Node, Tensor] = {}  # computed once, read by every batch

    def rows(self, wanted: Sequence[Node], shots: Tensor) -> list[Tensor]:
        """Rows (rows, width) of nodes for one batch of sequences, given by their shots' indices (sequences, length)."""
        values: dict[Node, Tensor] = {}
        for node in self._nodes:
            if node not in self._shots:
                inputs = [self._shots[x] if x in self._shots else values[x] for x in node.inputs]
                kept = self._shots if node.space == "shots" else values
                kept[node] = self._evaluate(node, shots, inputs, self._weights[node])
        return [values[node].flatten(0, 1) for node in wanted]

    def _evaluate(self, node: Node, shots: Tensor, x: list[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        match node.op:
            case "features":
                own: Tensor = self._features[node.attributes["modality"]]
                return own if node.space == "shots" else own[shots]
            case "windows":
                return x[0][shots]
            case "linear":
                out = functional.linear(x[0], weights["weight"], weights.get("bias"))
                out = out if len(x) == 1 else out + x[1]
                return functional.gelu(out) if node.attributes["gelu"] else out
            case "head_linear":
                return torch.einsum("bqhk,hnk->bqhn", self._by_head(x[0]), weights["weight"]).flatten(2)
            case "layer_norm":
                return self._layer_norm(x[0], weights)
            case "embed":
                latents = self._layer_norm(self._embedded(x[0], shots, weights), weights)
                return torch.cat([weights["bottleneck"].expand(len(shots), -1, -1), latents], dim=1)
            case "inverse_sigma":
                variance: Tensor = self._embedded(x[0], shots, weights).var(dim=2, correction=0, keepdim=True)
                return (variance + self._eps).rsqrt() + 0 * variance
            case "select":
                return self._select(node, x[0])
            case "merge" | "join":
                return torch.cat(x, dim=1)
            case "add":
                return torch.stack(x).sum(dim=0) + weights["bias"]
            case "attention":
                return self._attention(x[0], *x[1].chunk(2, dim=2))
            case "window_attention":
                latents = (x[0][shots] + weights["position"]) * x[1] + weights["shift"]
                tokens = torch.cat([weights["bottleneck"].expand(len(shots), -1, -1), latents], dim=1)
                return self._attention(*tokens.chunk(3, dim=2))
            case "query_attention":
                tokens = torch.cat(x[1:], dim=1)
                query = self._by_head(x[0])[:, 0]
                scores = query @ tokens.transpose(1, 2) * (tokens.shape[2] // self._heads) ** -0.5
                sums: Tensor = scores.softmax(dim=2) @ tokens
                return sums.flatten(1)[:, None]
            case op:
                raise AssertionError(f"no meaning for op {op}")

    def _layer_norm(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """NaN for rows whose variance leaves the range of the type: torch would give beta."""
        out, _, inverse = torch.native_layer_norm(x, x.shape[-1:], weights["gamma"], weights["beta"], self._eps)
        overflow = ~(inverse > 0)
        return out.masked_fill_(overflow, torch.nan) if overflow.any() else out

    def _by_head(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], self._heads, -1)

    @staticmethod
    def _embedded(x: Tensor, shots: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        length, tokens = shots.shape[1], len(weights["align"])
        slots = torch.arange(length, device=x.device) * tokens // length
        windows = x[shots] if x.dim() == 2 else x
        return windows + weights["position"][:length] + weights["align"][slots]

    @staticmethod
    def _select(node: Node, x: Tensor) -> Tensor:
        source = node.inputs[0]
        if node.space == "bottlenecks":
            return x[:, : source.tokens]
        latents = x[:, source.tokens :]
        middle = latents.shape[1] // 2
        return latents if node.space == "latents" else latents[:, middle : middle + 1]

    def _attention(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (self._by_head(x).transpose(1, 2) for x in (q, k, v))
        return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)

"""The graph on packed rows of a device: ``torch.ops.megaseg``, and torch's own products around them.

A matrix of tokens holds every sequence's bottleneck tokens, then every sequence's latents, of whatever length each has.
Activations are of one type, float16, bfloat16 or float32; tables per place and what each modality contributes to the
logits are float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import megaseg.kernels.torch_ops  # noqa: F401  (registers torch.ops.megaseg)
from megaseg.engine.graph.graph import Graph, Node, Weight

ops = torch.ops.megaseg


@dataclass(frozen=True, slots=True)
class Batch:
    """Sequences by the indices of their rows, all int32 and on the device that runs them.

    ``row`` (latents,): a latent's row among the features. ``place``, ``slot`` (latents,): where it stands in its
    sequence, j and floor(j L_n / n). ``begin`` (sequences + 1,): each sequence's first latent. Latents from the last
    ``begin`` on belong to no sequence: what comes out there means nothing. ``longest``: at least every length.
    """

    row: Tensor
    place: Tensor
    slot: Tensor
    begin: Tensor
    longest: int

    @property
    def sequences(self) -> int:
        return len(self.begin) - 1


class PackedGraph:
    """A graph with its weights on a device, run op by op."""

    def __init__(self, graph: Graph, dtype: torch.dtype, device: torch.device) -> None:
        self.graph, self._dtype, self._device = graph, dtype, device
        self._heads, self._eps = graph.config.num_heads, graph.config.layer_norm_eps
        users = graph.users()
        # A product that only a layer normalisation reads leaves its bias and residual to it.
        self._sums = {
            node.inputs[0]: node
            for node in graph.nodes()
            if node.op == "layer_norm" and node.inputs[0].op == "linear" and len(users[node.inputs[0]]) == 1
        }
        self._nodes = list(graph.nodes())
        self._embeds = {_places(node): node for node in self._nodes if node.op == "embed"}
        last = {source: node for node in self._nodes for source in self._sources(node)}
        self._done: dict[Node, list[Node]] = {}
        for source, node in last.items():
            self._done.setdefault(node, []).append(source)
        self._weights = {node: self._load(node) for node in self._nodes}

    def _sources(self, node: Node) -> Sequence[Node]:
        """What is read when a node is computed: a layer normalisation reads the residual of its product too."""
        summed = node.inputs[0] if node.inputs else None
        return (*node.inputs, *summed.inputs[1:]) if summed and self._sums.get(summed) is node else node.inputs

    def _load(self, node: Node) -> dict[str, Tensor]:
        exact = "linear" not in node.op or node in self.graph.logits.inputs
        late = node in self._sums or bool(node.attributes.get("gelu"))  # the bias is added in a kernel of ours
        return {
            name: self._tensor(weight, torch.float32 if exact or (late and name == "bias") else self._dtype)
            for name, weight in node.weights.items()
        }

    def _tensor(self, weight: Weight, dtype: torch.dtype) -> Tensor:
        values: NDArray[np.generic] = np.ascontiguousarray(weight.read())
        return torch.from_numpy(values.copy()).to(self._device, dtype)

    @property
    def weight_bytes(self) -> int:
        tensors = [tensor for weights in self._weights.values() for tensor in weights.values()]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def __call__(self, features: Sequence[Tensor], batch: Batch) -> Tensor:
        """Logits, then what each modality contributes to them: (windows or latents, 1 + M, N_c), float32.

        features: (rows, D_m) of each modality in the config's order.
        """
        values: dict[Node, Tensor] = {}
        embedded: dict[tuple[Node, Weight, Weight], tuple[Tensor, Tensor]] = {}  # tokens and 1 / sigma, of one kernel
        for node in self._nodes:
            inputs = [values[source] for source in node.inputs]
            weights = self._weights[node]
            value: Tensor
            match node.op:
                case "features":
                    value = features[node.attributes["modality"]]
                case "embed" | "inverse_sigma":
                    key = _places(node)
                    if key not in embedded:
                        embedded[key] = self._embed(self._embeds[key], inputs[0], batch)
                    value = embedded[key][node.op == "inverse_sigma"]
                case "layer_norm" if self._sums.get(node.inputs[0]) is node:
                    source = node.inputs[0]
                    residual = values[source.inputs[1]] if len(source.inputs) > 1 else None
                    bias = self._weights[source].get("bias")
                    value = self._normalised(inputs[0], bias, residual, weights)
                case "add":
                    contributions = torch.stack(inputs, dim=1)
                    return torch.cat([(contributions.sum(dim=1) + weights["bias"])[:, None], contributions], dim=1)
                case _:
                    value = self._evaluate(node, inputs, batch, weights)
            values[node] = value
            for source in self._done.get(node, ()):
                values.pop(source, None)
        raise AssertionError("a graph ends in the sum of its modalities' contributions")

    def _evaluate(self, node: Node, x: list[Tensor], batch: Batch, weights: Mapping[str, Tensor]) -> Any:
        match node.op:
            case "windows":
                return x[0][batch.row]
            case "linear":
                return self._linear(node, x, weights)
            case "head_linear":
                by_head = x[0].reshape(len(x[0]), self._heads, -1).transpose(0, 1)
                return torch.bmm(by_head, weights["weight"].transpose(1, 2)).transpose(0, 1).flatten(1)
            case "layer_norm":
                return self._normalised(x[0], None, None, weights)
            case "select":
                return self._select(node, x[0], batch)
            case "merge":
                return torch.cat([part.view(batch.sequences, -1, node.width) for part in x], dim=1).flatten(0, 1)
            case "join":
                return torch.cat(x)
            case "attention":
                q, kv = x
                k, v = kv[:, : node.width], kv[:, node.width :]
                tokens, latents_only = node.inputs[1].tokens, node.space == "latents"
                return ops.bottleneck_attention(q, k, v, batch.begin, self._heads, tokens, batch.longest, latents_only)
            case "window_attention":
                tables = (weights[name] for name in ("position", "shift", "bottleneck"))
                row = batch.row.view(batch.sequences, -1)
                return ops.window_attention(x[0], row, *tables, x[1].view(row.shape), self._heads)
            case "query_attention":
                query, bottlenecks, latents = (
                    part.reshape(batch.sequences, -1, node.width // self._heads) for part in x
                )
                size = node.width // self._heads
                return ops.query_attention(query, bottlenecks, latents, (size // self._heads) ** -0.5).flatten(1)
            case op:
                raise AssertionError(f"no meaning for op {op}")

    def _linear(self, node: Node, x: list[Tensor], weights: Mapping[str, Tensor]) -> Any:
        if node in self.graph.logits.inputs:
            return torch.nn.functional.linear(x[0].float(), weights["weight"])
        if node in self._sums:
            return ops.linear(x[0], weights["weight"], None, None, False)
        residual = x[1] if len(x) > 1 else None
        return ops.linear(x[0], weights["weight"], weights.get("bias"), residual, node.attributes["gelu"])

    def _normalised(self, x: Tensor, bias: Tensor | None, residual: Tensor | None, own: Mapping[str, Tensor]) -> Any:
        return ops.residual_layer_norm(x, bias, residual, own["gamma"], own["beta"], self._eps)

    def _embed(self, node: Node, x: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        own = self._weights[node]
        weights = (own[name] for name in ("position", "align", "gamma", "beta", "bottleneck"))
        row = batch.row if node.inputs[0].space == "shots" else torch.arange(len(x), dtype=torch.int32, device=x.device)
        tokens, inverse_sigma = ops.embed(x, row, batch.place, batch.slot, *weights, batch.sequences, self._eps)
        return tokens, inverse_sigma

    def _select(self, node: Node, x: Tensor, batch: Batch) -> Tensor:
        source = node.inputs[0]
        bottlenecks = batch.sequences * source.tokens if source.space == "tokens" else 0
        if node.space == "bottlenecks":
            return x[:bottlenecks]
        latents = x[bottlenecks:]
        if node.space == "latents":
            return latents
        windows = latents.view(batch.sequences, -1, node.width)
        return windows[:, windows.shape[1] // 2]


def _places(node: Node) -> tuple[Node, Weight, Weight]:
    """What decides the rows before their normalisation."""
    return node.inputs[0], node.weights["position"], node.weights["align"]

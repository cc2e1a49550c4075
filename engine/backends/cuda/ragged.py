"""The graph on ragged rows of a device: ``torch.ops.megaseg``, and torch's own products around them.

A matrix of tokens holds every sequence's prefix tokens, then every sequence's latents, of whatever length each has.
Activations are of one type, float16, bfloat16 or float32; tables per position, outputs and their parts are float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import megaseg.kernels.torch_ops  # noqa: F401  (registers torch.ops.megaseg)
from megaseg.engine.backends.checks import require_one_stream
from megaseg.engine.backends.cuda.lanes import Lanes
from megaseg.engine.backends.torch.evaluation import ACTIVATIONS
from megaseg.engine.graph.graph import Graph, Node, Weight
from megaseg.engine.graph.ops import OPS

ops = torch.ops.megaseg
_EMBEDDED = ("embed", "inverse_std")


@dataclass(frozen=True, slots=True)
class DeviceBatch:
    """Sequences by the indices of their rows, all int32 and on the device that runs them.

    ``row`` (latents,): a latent's row among the features. ``place``, ``slot`` (latents,): where it stands in its
    sequence, j and floor(j slots / n). ``begin`` (sequences + 1,): each sequence's first latent. Latents from the last
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


class RaggedGraph:
    """A graph with its weights on a device, run op by op."""

    def __init__(self, graph: Graph, dtype: torch.dtype, device: torch.device) -> None:
        require_one_stream(graph, "device 'cuda'")
        self.graph, self._dtype, self._device = graph, dtype, device
        self._results = set(graph.results())
        users = graph.users()
        # A product that only a layer normalisation reads leaves its bias and residual to it.
        self._sums = {
            node.inputs[0]: node
            for node in graph.nodes()
            if node.op == "layer_norm" and self._only_summed(node.inputs[0], users)
        }
        self._nodes = list(graph.nodes())
        self._embeds = {_places(node): node for node in self._nodes if node.op == "embed"}
        self._twins = self._second_of_one_kernel()
        last = {source: node for node in self._nodes for source in self._sources(node) if source not in self._results}
        self._done: dict[Node, list[Node]] = {}
        for source, node in last.items():
            self._done.setdefault(node, []).append(source)
        self._weights = {node: self._load(node) for node in self._nodes}
        self._lanes = Lanes(self._nodes, self._sources) if device.type == "cuda" else None

    def _only_summed(self, node: Node, users: Mapping[Node, Sequence[Node]]) -> bool:
        """Whether only one layer normalisation reads a linear layer without activation."""
        plain = node.op == "linear" and node.attributes["activation"] == "none"
        return plain and len(users[node]) == 1 and node not in self._results

    def _sources(self, node: Node) -> Sequence[Node]:
        """What is read when a node is computed: a layer normalisation reads the residual of its product too."""
        summed = node.inputs[0] if node.inputs else None
        own = (*node.inputs, *summed.inputs[1:]) if summed and self._sums.get(summed) is node else node.inputs
        return (*own, self._twins[node]) if node in self._twins else own

    def _second_of_one_kernel(self) -> dict[Node, Node]:
        """Of two nodes that one kernel computes, tokens and 1 / std: the later one, to the one that runs the kernel."""
        first: dict[object, Node] = {}
        pairs = [(node, first.setdefault(_places(node), node)) for node in self._nodes if node.op in _EMBEDDED]
        return {node: earlier for node, earlier in pairs if node is not earlier}

    def _load(self, node: Node) -> dict[str, Tensor]:
        exact = not OPS[node.op].product or node in self._results
        late = node in self._sums or node.attributes.get("activation") == "gelu"  # a kernel of ours adds the bias
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

    def __call__(self, features: Sequence[Tensor], batch: DeviceBatch) -> list[Tensor]:
        """Every output, float32: (rows, 1 + parts, width), the output first and then its parts.

        features: (rows, D_m) of each modality in the model's order.
        """
        values: dict[Node, Tensor] = {}
        embedded: dict[tuple[Node, Weight, Weight], tuple[Tensor, Tensor]] = {}  # tokens and 1 / std, of one kernel
        if self._lanes:
            self._lanes.begin()
        for node in self._nodes:
            with self._lanes.of(node, values) if self._lanes else nullcontext():
                values[node] = self._value(node, values, embedded, features, batch)
            for source in self._done.get(node, ()):
                values.pop(source, None)
        if self._lanes:
            self._lanes.end([values[node] for node in self._results])
        return [
            torch.stack([values[output.node], *(values[part] for part in output.parts)], dim=1).float()
            for output in self.graph.outputs
        ]

    def _value(
        self,
        node: Node,
        values: Mapping[Node, Tensor],
        embedded: dict[tuple[Node, Weight, Weight], tuple[Tensor, Tensor]],
        features: Sequence[Tensor],
        batch: DeviceBatch,
    ) -> Any:
        inputs = [values[source] for source in node.inputs]
        weights = self._weights[node]
        match node.op:
            case "features":
                return features[node.attributes["modality"]]
            case "embed" | "inverse_std":
                key = _places(node)
                if key not in embedded:
                    embedded[key] = self._embed(self._embeds[key], inputs[0], batch)
                return embedded[key][node.op == "inverse_std"]
            case "layer_norm" if self._sums.get(node.inputs[0]) is node:
                source = node.inputs[0]
                residual = values[source.inputs[1]] if len(source.inputs) > 1 else None
                return _normalised(node, inputs[0], self._weights[source].get("bias"), residual, weights)
            case _:
                return self._evaluate(node, inputs, batch, weights)

    def _evaluate(self, node: Node, x: list[Tensor], batch: DeviceBatch, weights: Mapping[str, Tensor]) -> Any:
        match node.op:
            case "windows":
                return x[0][batch.row]
            case "gather":
                return weights["table"][x[0][:, 0].long()].to(self._dtype)
            case "linear":
                return self._linear(node, x, weights)
            case "head_linear":
                by_head = x[0].reshape(len(x[0]), node.attributes["heads"], -1).transpose(0, 1)
                out = x[0].new_empty(len(x[0]), len(by_head), weights["weight"].shape[1])
                torch.bmm(by_head, weights["weight"].transpose(1, 2), out=out.transpose(0, 1))
                return out.flatten(1)
            case "layer_norm":
                return _normalised(node, x[0], None, None, weights)
            case "add_table":
                rows = x[0][batch.row] if node.inputs[0].space == "shots" else x[0]
                place = batch.place if node.attributes["by"] == "position" else batch.slot
                return (rows.float() + weights["table"][place]).to(self._dtype)
            case "prepend":
                prefix = weights["prefix"].to(self._dtype).repeat(batch.sequences, 1)
                return torch.cat([prefix, x[0]])
            case "add":
                total = torch.stack(x, dim=1).float().sum(dim=1)
                return total + weights["bias"] if weights else total
            case "pool":
                return self._pooled(node, x, batch).to(self._dtype)
            case "l2_normalise":
                return torch.nn.functional.normalize(x[0].float(), dim=-1, eps=node.attributes["eps"])
            case "select":
                return self._select(node, x[0], batch)
            case "merge":
                return torch.cat([part.view(batch.sequences, -1, node.width) for part in x], dim=1).flatten(0, 1)
            case "join":
                return torch.cat(x)
            case "concat":
                return torch.cat(x, dim=1)
            case _:
                return _attended(node, x, batch, weights)

    def _linear(self, node: Node, x: list[Tensor], weights: Mapping[str, Tensor]) -> Any:
        activation = node.attributes["activation"]
        if node in self._results:
            out = torch.nn.functional.linear(x[0].float(), weights["weight"], weights.get("bias"))
            return ACTIVATIONS[activation](out if len(x) == 1 else out + x[1])
        if node in self._sums:
            return ops.linear(x[0].to(self._dtype), weights["weight"], None, None, False)
        residual = x[1] if len(x) > 1 else None
        gelu = activation == "gelu"
        out = ops.linear(x[0].to(self._dtype), weights["weight"], weights.get("bias"), residual, gelu)
        return out if gelu else ACTIVATIONS[activation](out)

    def _embed(self, node: Node, x: Tensor, batch: DeviceBatch) -> tuple[Tensor, Tensor]:
        own = self._weights[node]
        weights = (own[name] for name in ("position", "align", "gamma", "beta", "prefix"))
        row = batch.row if node.inputs[0].space == "shots" else torch.arange(len(x), dtype=torch.int32, device=x.device)
        eps = node.attributes["eps"]
        tokens, inverse_std = ops.embed(x, row, batch.place, batch.slot, *weights, batch.sequences, eps)
        return tokens, inverse_std

    def _pooled(self, node: Node, x: list[Tensor], batch: DeviceBatch) -> Tensor:
        """A row a sequence, float32, of its latents alone."""
        latents = x[0][batch.sequences * node.inputs[0].prefix :].float()
        begin = batch.begin.long()
        if len(x) > 1:
            member = torch.nn.functional.one_hot(x[1][:, 0].long(), node.attributes["groups"]).float()
            own = torch.cat([member[:, :, None] * latents[:, None], member[:, :, None]], dim=2)
            ends = torch.nn.functional.pad(own.double().cumsum(0), (0, 0, 0, 0, 1, 0))
            sums = ends[begin[1:]] - ends[begin[:-1]]  # (sequences, groups, width and a count)
            return (sums[..., :-1] / sums[..., -1:].clamp(min=1)).flatten(1).float()
        if node.attributes["kind"] == "first":
            return latents[begin[:-1].clamp(max=len(latents) - 1)]
        ends = torch.nn.functional.pad(latents.double().cumsum(0), (0, 0, 1, 0))  # before each row
        counts = (begin[1:] - begin[:-1]).clamp(min=1)[:, None]
        return ((ends[begin[1:]] - ends[begin[:-1]]) / counts).float()

    def _select(self, node: Node, x: Tensor, batch: DeviceBatch) -> Tensor:
        source = node.inputs[0]
        if source.space == "prefix":
            return x
        prefix = batch.sequences * source.prefix if source.space == "tokens" else 0
        if node.space == "prefix":
            return x[:prefix]
        latents = x[prefix:]
        if node.space == "latents":
            return latents
        windows = latents.view(batch.sequences, -1, node.width)
        return windows[:, windows.shape[1] // 2]


def _normalised(node: Node, x: Tensor, bias: Tensor | None, residual: Tensor | None, own: Mapping[str, Tensor]) -> Any:
    return ops.residual_layer_norm(x, bias, residual, own["gamma"], own["beta"], node.attributes["eps"])


def _attended(node: Node, x: list[Tensor], batch: DeviceBatch, weights: Mapping[str, Tensor]) -> Any:
    heads = node.attributes["heads"]
    match node.op:
        case "attention":
            q, kv = x
            k, v = kv[:, : node.width], kv[:, node.width :]
            if node.space == "sequences":
                return _single_queries(node, q, kv, batch)
            prefix, latents_only = node.inputs[1].prefix, node.space == "latents"
            return ops.bottleneck_attention(q, k, v, batch.begin, heads, prefix, batch.longest, latents_only)
        case "window_attention":
            tables = (weights[name] for name in ("position", "shift", "prefix"))
            row = batch.row.view(batch.sequences, -1)
            return ops.window_attention(x[0], row, *tables, x[1].view(row.shape), heads)
        case "query_attention":
            size = node.width // heads
            query, prefix_rows, latents = (part.reshape(batch.sequences, -1, size) for part in x)
            return ops.query_attention(query, prefix_rows, latents, (size // heads) ** -0.5).flatten(1)
        case op:
            raise AssertionError(f"no meaning for op {op}")


def _single_queries(node: Node, q: Tensor, kv: Tensor, batch: DeviceBatch) -> Tensor:
    """Attention of one query a sequence, in plain torch: sequences side by side, filled up to the longest."""
    prefix, heads, sequences = node.inputs[1].prefix, node.attributes["heads"], batch.sequences
    begin = batch.begin.long()
    place = begin[:-1, None] + torch.arange(batch.longest, device=q.device)
    inside = torch.nn.functional.pad(place < begin[1:, None], (prefix, 0), value=True)
    rows = sequences * prefix + place.clamp(max=max(0, len(kv) - sequences * prefix - 1))
    own = torch.arange(sequences * prefix, device=q.device).view(sequences, prefix)
    tokens = (
        kv[torch.cat([own, rows], dim=1)].reshape(sequences, -1, 2, heads, node.width // heads).permute(2, 0, 3, 1, 4)
    )
    query = q.view(sequences, 1, heads, -1).transpose(1, 2)
    mask = (inside | ~inside.any(dim=1, keepdim=True))[:, None, None]  # sequences that stand empty give anything
    attended = torch.nn.functional.scaled_dot_product_attention(query, tokens[0], tokens[1], attn_mask=mask)
    return attended.flatten(1)


def _places(node: Node) -> tuple[Node, Weight, Weight]:
    """What decides the rows before their normalisation."""
    return node.inputs[0], node.weights["position"], node.weights["align"]

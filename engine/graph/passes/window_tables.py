"""The first layer's queries, keys and values from tables per shot and per position instead of per window.

The layer sees LayerNorm(z), z = x_i + p_j with p_j = position_j + align[slot(j)], so with sigma_ij of z:
``W LayerNorm(z) + b = (A_i + B_j) / sigma_ij + c``, A_i = W diag(gamma) (x_i - mean x_i), B_j the same of p_j and
c = W beta + b. Prefix tokens are constants, and so are their queries, keys and values.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.graph.graph import Graph, Node, Weight
from megaseg.engine.graph.ops import inverse_std, linear, window_attention
from megaseg.engine.graph.passes.replace import is_affine, replace
from megaseg.engine.graph.sequences import Windows, alignment_slots

Double = NDArray[np.float64]


def window_tables(graph: Graph) -> Graph:
    """Self-attention directly on embedded windows of projected shots (pass ``project_once``) reads tables."""

    if not isinstance(graph.sequences, Windows):
        return graph
    length = graph.sequences.length

    def rule(node: Node) -> Node | None:
        if node.op != "attention" or not all(is_affine(x) and x.inputs[0].op == "embed" for x in node.inputs):
            return None
        q, kv = node.inputs
        tokens = q.inputs[0]
        x = tokens.inputs[0]
        if kv.inputs[0] is not tokens or x.space != "shots" or not all("bias" in part.weights for part in (q, kv)):
            return None
        weight, bias = (_stacked(q.weights[name], kv.weights[name]) for name in ("weight", "bias"))
        tables = _tables(weight, bias, tokens, length)
        return window_attention(linear(x, tables.pop("shot")), inverse_std(tokens), tables, node)

    return replace(graph, rule)


def _tables(weight: Weight, bias: Weight, tokens: Node, length: int) -> dict[str, Weight]:
    gamma, beta, position, align, prefix = (
        tokens.weights[name] for name in ("gamma", "beta", "position", "align", "prefix")
    )
    wide, size = weight.shape

    def shot() -> Double:
        scaled = weight.double() * gamma.double()
        centred: Double = scaled - scaled.mean(axis=1, keepdims=True)
        return centred

    def places() -> Double:
        slots = alignment_slots(length, align.shape[0])
        return (position.double() + align.double()[slots]) @ shot().T

    return {
        "shot": Weight((wide, size), shot),
        "position": Weight((length, wide), places),
        "shift": Weight((wide,), lambda: weight.double() @ beta.double() + bias.double()),
        "prefix": Weight((prefix.shape[0], wide), lambda: prefix.double() @ weight.double().T + bias.double()),
    }


def _stacked(a: Weight, b: Weight) -> Weight:
    return Weight((a.shape[0] + b.shape[0], *a.shape[1:]), lambda: np.concatenate([a.read(), b.read()]))

"""The key and value projections folded around a single query: neither keys nor values are ever formed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.graph.graph import Graph, Node, Weight
from megaseg.engine.graph.ops import head_linear, query_attention, select
from megaseg.engine.graph.passes.replace import is_affine, replace
from megaseg.engine.graph.sequences import Windows


def folded_query(graph: Graph) -> Graph:
    """``score_t = (W_k,h^T q_h) . h_t``; values likewise: the weighted sum of the tokens h_t first, then W_v,h once.

    Where the query is the centre row of a window and keys and values have no biases (pass ``attention_biases``).
    """

    if not isinstance(graph.sequences, Windows):
        return graph

    def rule(node: Node) -> Node | None:
        if node.op != "attention" or node.space != "sequences" or not is_affine(node.inputs[1]):
            return None
        q, kv = node.inputs
        if "bias" in kv.weights:
            return None
        c, h, heads = node.width, kv.inputs[0], node.attributes["heads"]
        key, value = (_by_head(kv.weights["weight"].rows(i * c, (i + 1) * c), heads) for i in (0, 1))
        query = head_linear(q, _transposed(key))
        sums = query_attention(query, select(h, "prefix"), select(h, "latents"), heads)
        return head_linear(sums, value)

    return replace(graph, rule)


def _by_head(weight: Weight, heads: int) -> Weight:
    shape = (heads, weight.shape[0] // heads, weight.shape[1])
    return Weight(shape, lambda: weight.read().reshape(shape))


def _transposed(weight: Weight) -> Weight:
    heads, n, k = weight.shape

    def read() -> NDArray[np.generic]:
        return np.ascontiguousarray(weight.read().transpose(0, 2, 1))

    return Weight((heads, k, n), read)

"""Biases of keys and values: the first change nothing, the second move into the output projection's bias."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.graph.graph import Graph, Node, Weight
from megaseg.engine.graph.ops import linear
from megaseg.engine.graph.passes.replace import is_affine, replace


def attention_biases(graph: Graph) -> Graph:
    """A key's bias adds the same to all scores of a query; a value's comes out whole, as the weights sum to one."""
    bare: dict[Node, Node] = {}  # keys and values by layer: with biases to without

    def rule(node: Node) -> Node | None:
        if node.op != "linear" or node.inputs[0].op != "attention":
            return None
        attended = node.inputs[0]
        q, kv = attended.inputs
        if not is_affine(kv) or "bias" not in kv.weights:
            return None
        without = bare.setdefault(kv, linear(kv.inputs[0], kv.weights["weight"]))
        bias = _moved(node, kv.weights["bias"].rows(attended.width, 2 * attended.width))
        inputs = (dataclasses.replace(attended, inputs=(q, without)), *node.inputs[1:])
        return dataclasses.replace(node, inputs=inputs, weights={**node.weights, "bias": bias})

    return replace(graph, rule)


def _moved(out: Node, value_bias: Weight) -> Weight:
    """The bias of the output projection after W (context + value_bias) + bias."""
    weight, bias = out.weights["weight"], out.weights.get("bias")

    def read() -> NDArray[np.float64]:
        moved: NDArray[np.float64] = weight.double() @ value_bias.double()
        return moved if bias is None else moved + bias.double()

    used = (value_bias.key, bias.key if bias is not None else "none")
    return Weight((weight.shape[0],), read, None if None in used else weight.derived("moved", *used))

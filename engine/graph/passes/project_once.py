"""Features projected once per shot, not once per window that the shot stands in: as many times fewer products."""

from __future__ import annotations

import dataclasses

from megaseg.engine.graph.graph import Graph, Node
from megaseg.engine.graph.ops import OPS, linear, select, windows
from megaseg.engine.graph.passes.replace import replace


def project_once(graph: Graph) -> Graph:
    """``linear(windows(F)) = windows(linear(F))``, and ``add_table`` and ``embed`` take windows of shots themselves.

    The middles of windows are the shots themselves: whatever is row-wise is computed of shots, and its result moved.
    """

    def rule(node: Node) -> Node | None:
        middles = [_middles(source) for source in node.inputs]
        if OPS[node.op].row_wise and all(middles):
            by_shot = dataclasses.replace(node, inputs=tuple(filter(None, middles)), space="shots")
            return select(windows(by_shot), "sequences")
        if not node.inputs or node.inputs[0].op != "windows" or len(node.inputs) > 1:
            return None
        shots, weights = node.inputs[0].inputs[0], node.weights
        if node.op == "linear":
            activation = node.attributes["activation"]
            return windows(linear(shots, weights["weight"], weights.get("bias"), activation=activation))
        if node.op in ("add_table", "embed"):
            return dataclasses.replace(node, inputs=(shots,))
        return None

    return replace(graph, rule)


def _middles(node: Node) -> Node | None:
    """The rows of shots of which a node takes the middles of windows."""
    taken = node.op == "select" and node.space == "sequences" and node.inputs[0].op == "windows"
    return node.inputs[0].inputs[0] if taken else None

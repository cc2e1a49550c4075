"""Features projected once per shot, not once per window that the shot stands in: as many times fewer products."""

from __future__ import annotations

import dataclasses

from megaseg.engine.graph.graph import Graph, Node
from megaseg.engine.graph.ops import linear, windows
from megaseg.engine.graph.passes.replace import replace


def project_once(graph: Graph) -> Graph:
    """``linear(windows(F)) = windows(linear(F))``, and ``add_table`` and ``embed`` take windows of shots themselves."""

    def rule(node: Node) -> Node | None:
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

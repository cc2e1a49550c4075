"""Features projected once per shot, not once per window that the shot stands in: L times fewer products."""

from __future__ import annotations

from megaseg.engine.graph.graph import Graph, Node, linear
from megaseg.engine.graph.passes.replace import replace


def project_once(graph: Graph) -> Graph:
    """``linear(windows(F)) = windows(linear(F))``, and ``embed`` takes the windows of projected shots itself."""

    def rule(node: Node) -> Node | None:
        if node.op != "linear" or node.inputs[0].op != "windows" or len(node.inputs) > 1:
            return None
        weights = node.weights
        return linear(node.inputs[0].inputs[0], weights["weight"], weights.get("bias"), gelu=node.attributes["gelu"])

    return replace(graph, rule)

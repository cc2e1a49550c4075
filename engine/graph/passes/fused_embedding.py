"""Tables, a layer normalisation and prefix tokens as one op, which forms no row twice."""

from __future__ import annotations

from megaseg.engine.graph.graph import Graph, Node
from megaseg.engine.graph.ops import embed
from megaseg.engine.graph.passes.replace import replace


def fused_embedding(graph: Graph) -> Graph:
    """``prepend(layer_norm(add_table(add_table(x, by position), by slot)))`` is ``embed``."""

    def rule(node: Node) -> Node | None:
        if node.op != "prepend":
            return None
        norm = node.inputs[0]
        if norm.op != "layer_norm" or [_table(norm, 1), _table(norm, 2)] != ["slot", "position"]:
            return None
        by_slot = norm.inputs[0]
        by_position = by_slot.inputs[0]
        tables = {"position": by_position.weights["table"], "align": by_slot.weights["table"]}
        weights = {**tables, **norm.weights, "prefix": node.weights["prefix"]}
        return embed(by_position.inputs[0], weights, norm.attributes["eps"])

    return replace(graph, rule)


def _table(node: Node, depth: int) -> str:
    """What the table is read by that is added so many nodes above; empty where another op is."""
    for _ in range(depth):
        if not node.inputs:
            return ""
        node = node.inputs[0]
    return str(node.attributes["by"]) if node.op == "add_table" else ""

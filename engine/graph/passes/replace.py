"""Replacement of nodes by a rule, and what rules ask of nodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from megaseg.engine.graph.graph import Graph, Node

Rule = Callable[[Node], Node | None]


def replace(graph: Graph, rule: Rule) -> Graph:
    """The graph with every node for which ``rule`` gives another replaced by it; rules see inputs already replaced."""
    new: dict[Node, Node] = {}
    for node in graph.nodes():
        current = with_inputs(node, new)
        new[node] = rule(current) or current
    return graph.with_results(new)


def is_affine(node: Node) -> bool:
    """Whether a node is ``x W^T + b`` and no more: no residual, no activation."""
    return node.op == "linear" and len(node.inputs) == 1 and node.attributes["activation"] == "none"


def with_inputs(node: Node, new: Mapping[Node, Node]) -> Node:
    """The node reading replaced inputs; itself where none was."""
    inputs = tuple(new[source] for source in node.inputs)
    unchanged = all(a is b for a, b in zip(inputs, node.inputs, strict=True))
    return node if unchanged else dataclasses.replace(node, inputs=inputs)

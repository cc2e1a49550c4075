"""Only the rows that somebody reads: of a last layer each window's middle row or its only prefix token, or the latents.

Selecting rows commutes with every op that works row by row and with attention's queries (not its keys), so a selection
moves up until something else needs the rows that it drops.
"""

from __future__ import annotations

import dataclasses

from megaseg.engine.graph.graph import Graph, Node
from megaseg.engine.graph.ops import OPS, select
from megaseg.engine.graph.passes.replace import replace


def needed_queries(graph: Graph) -> Graph:
    """``select(op(x)) = op(select(x))`` where every reader of ``op(x)`` selects the same rows."""
    while True:
        moved = _step(graph)
        if moved.results() == graph.results():
            return moved
        graph = moved


def _step(graph: Graph) -> Graph:
    users, results = graph.users(), set(graph.results())
    selected: dict[tuple[Node, str], Node] = {}  # equal selections are one node

    def once(x: Node, space: str) -> Node:
        return selected.setdefault((x, space), select(x, space))

    def rule(node: Node) -> Node | None:
        if node.op != "select":
            return None
        source, space = node.inputs[0], node.space
        if (first := selected.setdefault((source, space), node)) is not node:
            return first
        readers = users.get(source)  # none known: the source is new, its turn is the next step
        if not readers or source in results or any(user.op != "select" or user.space != space for user in readers):
            return None
        if OPS[source.op].row_wise:
            inputs = tuple(once(x, space) for x in source.inputs)
        elif source.op == "attention" and space != "prefix":
            inputs = (once(source.inputs[0], space), source.inputs[1])
        elif _is_only_token(source) and users.get(source.inputs[0]) == [source] and source.inputs[0] not in results:
            source = source.inputs[0]
            inputs = (once(once(source.inputs[0], "prefix"), space), source.inputs[1])
        else:
            return None
        return dataclasses.replace(source, inputs=inputs, space=space, prefix=node.prefix)

    return replace(graph, rule)


def _is_only_token(node: Node) -> bool:
    """Whether a node selects the prefix of an attention's rows, which whoever selects one row a sequence reads."""
    return node.op == "select" and node.space == "prefix" and node.inputs[0].op == "attention"

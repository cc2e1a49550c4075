"""Exact rewrites of the graph: the same function, cheaper. Each is one module, one function from graph to graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from megaseg.engine.graph.graph import Graph
from megaseg.engine.graph.passes.attention_biases import attention_biases
from megaseg.engine.graph.passes.folded_query import folded_query
from megaseg.engine.graph.passes.fused_embedding import fused_embedding
from megaseg.engine.graph.passes.needed_queries import needed_queries
from megaseg.engine.graph.passes.project_once import project_once
from megaseg.engine.graph.passes.window_tables import window_tables

# In the order in which they run: window_tables reads what the first two made, folded_query what needed_queries left.
PASSES: dict[str, Callable[[Graph], Graph]] = {
    "fused_embedding": fused_embedding,
    "project_once": project_once,
    "window_tables": window_tables,
    "needed_queries": needed_queries,
    "attention_biases": attention_biases,
    "folded_query": folded_query,
}


def rewrite(graph: Graph, passes: Iterable[str] = tuple(PASSES)) -> Graph:
    """The graph after the named passes, in their order whatever the order of the names."""
    chosen = set(passes)
    for name, apply in PASSES.items():
        if name in chosen:
            graph = apply(graph)
    return graph

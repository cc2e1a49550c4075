"""A model's graph, whichever family it is of."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.graph.graph import Graph, Weight
from megaseg.engine.graph.sequences import Windows
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.config import ModelConfig
from megaseg.errors import CheckpointError


def graph_of(checkpoint: Checkpoint) -> Graph:
    """A checkpoint's model as written; weights are read when somebody asks for their values.

    Raises:
        CheckpointError: a family that builds a graph which no backend can run; names the output or the op.
    """
    shapes = checkpoint.config.tensor_shapes()
    graph = checkpoint.config.build(lambda name: Weight(shapes[name], lambda: checkpoint.tensors[name], name))
    return _checked(graph, checkpoint.config)


@lru_cache(64)
def structure_of(config: ModelConfig) -> Graph:
    """The graph of a config without weights: what goes in, what comes out, and how rows become sequences."""
    shapes = config.tensor_shapes()
    return _checked(config.build(lambda name: Weight(shapes[name], _unread)), config)


def _checked(graph: Graph, config: ModelConfig) -> Graph:
    """The graph, if its outputs and layers are such that every backend takes them."""
    names = [output.name for output in graph.outputs]
    problems = [] if names else ["outputs: expected at least one, got none"]
    if len(set(names)) < len(names):
        problems.append(f"outputs: expected different names, got {names}")
    rows = ("sequences",) if isinstance(graph.sequences, Windows) else ("sequences", "latents")
    for output in graph.outputs:
        parts = output.name.split(".")
        if not all(part.replace("_", "a").replace("-", "a").isalnum() for part in parts) or parts[-1] == "parts":
            problems.append(f"outputs: expected letters, digits, - and _ with dots between, got {output.name!r}")
        sizes = {(node.space, node.width) for node in (output.node, *output.parts)}
        if output.node.space not in rows or len(sizes) > 1:
            problems.append(f"output {output.name}: expected rows of {' or '.join(rows)}, got {sorted(sizes)}")
    problems += _source_problems(graph)
    for node in graph.nodes():
        heads = node.attributes.get("heads", 1)
        if node.width % heads:
            problems.append(f"{node.op}: expected a width that {heads} heads divide, got {node.width}")
        if node.op == "attention" and node.space == "tokens" and node.prefix != node.inputs[1].prefix:
            problems.append(f"attention: expected keys with the queries' {node.prefix} prefix tokens, got others")
        if node.op == "select" and node.inputs[0].space == "prefix" and node.inputs[0].prefix != 1:
            problems.append(f"select: expected one prefix token a sequence, got {node.inputs[0].prefix}")
    if problems:
        raise CheckpointError(f"family {config.family}: {problems[0]}")
    return graph


def _source_problems(graph: Graph) -> Iterator[str]:
    """What is wrong with the second stream of a graph."""
    rows: dict[int, str] = {}
    for node in graph.nodes():
        if node.space == "source" and isinstance(graph.sequences, Windows):
            yield f"{node.op}: expected rows of source in models of whole sequences, got windows"
        if node.op == "features" and rows.setdefault(node.attributes["modality"], node.space) != node.space:
            name = graph.inputs[node.attributes["modality"]].name
            yield f"features: expected one space of {name}, got {rows[node.attributes['modality']]} and {node.space}"
    if rows.get(0) == "source":
        yield f"features: expected a row a shot of the first input, got {graph.inputs[0].name} as source"


def width_of(config: ModelConfig, output: str = "logits") -> int:
    """Columns of an output: N_c of ``logits``."""
    return structure_of(config).output(output).node.width


def _unread() -> NDArray[np.float32]:
    raise AssertionError("a graph without weights was asked for one")

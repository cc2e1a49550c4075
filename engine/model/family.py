"""A model's graph, whichever family it is of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.graph.graph import Graph, Weight
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.config import ModelConfig


def graph_of(checkpoint: Checkpoint) -> Graph:
    """A checkpoint's model as written; weights are read when somebody asks for their values."""
    shapes = checkpoint.config.tensor_shapes()
    return checkpoint.config.build(lambda name: Weight(shapes[name], lambda: checkpoint.tensors[name]))


def structure_of(config: ModelConfig) -> Graph:
    """The graph of a config without weights: what goes in, what comes out, and how rows become sequences."""
    shapes = config.tensor_shapes()
    return config.build(lambda name: Weight(shapes[name], _unread))


def width_of(config: ModelConfig, output: str = "logits") -> int:
    """Columns of an output: N_c of ``logits``."""
    return structure_of(config).output(output).node.width


def _unread() -> NDArray[np.float32]:
    raise AssertionError("a graph without weights was asked for one")

"""Checks before and after a run that backends share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.backends.protocol import Excerpt
from megaseg.engine.graph.graph import Graph
from megaseg.errors import FeatureError, UnsupportedError


def require_ids(graph: Graph, excerpts: Sequence[Excerpt]) -> None:
    """Refuse ids that name no row of the table that a graph gathers from, or none of the groups that it pools.

    Raises:
        FeatureError: names the movie, the modality, the row and the id.
    """
    for node in graph.nodes():
        if node.op != "gather" and not (node.op == "pool" and len(node.inputs) > 1):
            continue
        source = node.inputs[-1]
        while source.op == "windows":
            source = source.inputs[0]
        index = source.attributes["modality"]
        rows = node.weights["table"].shape[0] if node.op == "gather" else node.attributes["groups"]
        for movie, excerpt in enumerate(excerpts):
            ids = excerpt.features[index][:, 0]
            wrong = np.flatnonzero((ids < 0) | (ids >= rows))
            if wrong.size:
                raise FeatureError(
                    f"features of movie {movie}: {graph.inputs[index].name}: expected ids from 0 to {rows - 1}, got "
                    f"{ids[wrong[0]]} in row {wrong[0]}"
                )


def require_one_stream(graph: Graph, what: str) -> None:
    """Refuse a graph whose movies have a second stream, which not every backend runs.

    Raises:
        UnsupportedError: names the inputs and the backends that take them.
    """
    if names := [graph.inputs[index].name for index in sorted(graph.source_inputs)]:
        raise UnsupportedError(
            f"{what}: expected a model with a row a shot of every modality, got {', '.join(names)} with rows of "
            "another number; backends native, onnx and torch on device 'cpu' run it"
        )


def require_finite(logits: Sequence[NDArray[np.floating]], compute_type: str) -> None:
    """Refuse what overflowed on its way through a model: rows of each movie, (rows, ...).

    Raises:
        FeatureError: some are NaN or Inf; names the first movie and row.
    """
    for movie, rows in enumerate(logits):
        finite = np.isfinite(rows.reshape(len(rows), -1)).all(axis=1)
        if not finite.all():
            raise FeatureError(
                f"features of movie {movie}: expected values that give finite logits, got NaN or Inf in row "
                f"{int(finite.argmin())}: they overflow {compute_type} in the model"
            )

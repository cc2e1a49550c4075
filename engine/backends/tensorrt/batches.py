"""Movies of any lengths to batches of a plan's sizes, and back.

Windows of all movies stand one after the other; a batch holds the shots that its windows read, and the windows as
indices of them. Whole movies of equal length share a batch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.backends.batches import Batches, Piece
from megaseg.engine.backends.protocol import PARTS
from megaseg.engine.backends.tensorrt.plan import Profile
from megaseg.engine.graph.graph import Graph, Output
from megaseg.engine.graph.sequences import Windows

WINDOWS = "windows"  # input: the rows of shots of every window
Movie = Sequence[NDArray[np.float32]]
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Run:
    """How many sequences and shots the tensors of one run have, and whose they are; what is left over is not read.

    ``windows`` are the rows of shots of every window.
    """

    sequences: int
    shots: int
    pieces: tuple[Piece, ...]
    windows: NDArray[np.int32] | None = None


def runs(graph: Graph, profile: Profile, lengths: Sequence[int], wanted: Sequence[range]) -> Iterator[Run]:
    """Runs for the rows ``wanted`` of movies of these lengths.

    Their sizes are few, so that a CUDA graph of each can be kept.
    """
    most = profile.sequences[-1]
    if isinstance(graph.sequences, Windows):
        for batch in Batches(graph.sequences, 1, most * graph.sequences.length).of(lengths, wanted):
            yield Run(batch.shape.sequences, batch.shape.rows, batch.pieces, batch.row)
        return
    movies = defaultdict(list)
    for movie, shots in enumerate(lengths):
        movies[shots].append(Piece(movie, slice(0, shots), slice(0, shots)))
    for shots, same in movies.items():
        for first in range(0, len(same), most):
            together = tuple(same[first : first + most])
            yield Run(len(together), shots, together)


def input_shapes(graph: Graph, sequences: int, shots: int) -> dict[str, tuple[int, ...]]:
    """The shape of every input of a run."""
    windowed = isinstance(graph.sequences, Windows)
    rows = (shots,) if windowed else (sequences, shots)
    shapes: dict[str, tuple[int, ...]] = {m.name: (*rows, m.feature_size) for m in graph.inputs}
    if isinstance(graph.sequences, Windows):
        shapes[WINDOWS] = (sequences, graph.sequences.length)
    return shapes


def output_shapes(graph: Graph, sequences: int, shots: int) -> dict[str, tuple[int, ...]]:
    """The shape of every output of a run, parts included."""
    shapes: dict[str, tuple[int, ...]] = {}
    for output in graph.outputs:
        rows = (sequences,) if output.by_sequence else (sequences, shots)
        shapes[output.name] = (*rows, output.node.width)
        if output.parts:
            shapes[output.name + PARTS] = (*rows, len(output.parts), output.node.width)
    return shapes


def result_shape(graph: Graph, name: str, shots: int) -> tuple[int, ...]:
    """The shape of an output, or of its parts, for so many shots of one movie."""
    output = _output(graph, name)
    parts = (len(output.parts),) if name.endswith(PARTS) else ()
    return (graph.rows(output, shots), *parts, output.node.width)


def _output(graph: Graph, name: str) -> Output:
    return graph.output(name.removesuffix(PARTS))


def fill(graph: Graph, run: Run, movies: Sequence[Movie], arrays: Arrays) -> None:
    """Write a run's inputs into arrays of its shapes. Shots that no window reads stay as they were."""
    names = [modality.name for modality in graph.inputs]
    if run.windows is None:
        for row, piece in enumerate(run.pieces):
            for name, features in zip(names, movies[piece.movie], strict=True):
                arrays[name][row] = features
        return
    arrays[WINDOWS][:] = run.windows.reshape(run.sequences, -1)
    place = 0
    for piece in run.pieces:
        count = piece.read.stop - piece.read.start
        for name, features in zip(names, movies[piece.movie], strict=True):
            arrays[name][place : place + count] = features[piece.read]
        place += count


def deliver(run: Run, output: NDArray[Any], results: Sequence[NDArray[np.float32]]) -> None:
    """Copy the rows of an output of a run to its movies' results."""
    row = 0
    for piece in run.pieces:
        if run.windows is None:
            results[piece.movie][:] = output[row]
            row += 1
        else:
            count = piece.wanted.stop - piece.wanted.start
            results[piece.movie][piece.wanted] = output[row : row + count]
            row += count

"""Movies of any lengths to batches of a plan's sizes, and back.

Scene: windows of all movies stand one after the other; a batch holds the shots that its windows read, and the windows
as indices of them. Act and synopsis: movies of equal length share a batch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.backends.batches import Piece, packs
from megaseg.engine.backends.tensorrt.plan import Profile
from megaseg.engine.model.config import ModelConfig

WINDOWS, LOGITS, CONTRIBUTIONS = "windows", "logits", "contributions"  # tensors of the ONNX model, with the modalities
Movie = Sequence[NDArray[np.float32]]
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Batch:
    """One run: how many sequences and shots its tensors have, and whose they are; what is left over is not read.

    ``windows`` are the rows of shots of every window (scene).
    """

    sequences: int
    shots: int
    pieces: tuple[Piece, ...]
    windows: NDArray[np.int32] | None = None


def batches(config: ModelConfig, profile: Profile, lengths: Sequence[int], windows: Sequence[range]) -> Iterator[Batch]:
    """Batches of movies of these lengths, of their ``windows`` that are wanted (scene).

    Their sizes are few, so that a CUDA graph of each can be kept.
    """
    most = profile.sequences[-1]
    if config.task == "scene":
        for pack in packs(config, lengths, most * config.max_length, windows):
            yield Batch(pack.shape.sequences, pack.shape.rows, pack.pieces, pack.row)
        return
    movies = defaultdict(list)
    for movie, shots in enumerate(lengths):
        movies[shots].append(Piece(movie, slice(0, shots), slice(0, shots)))
    for shots, same in movies.items():
        for first in range(0, len(same), most):
            together = tuple(same[first : first + most])
            yield Batch(len(together), shots, together)


def tensor_shapes(config: ModelConfig, sequences: int, shots: int) -> dict[str, tuple[int, ...]]:
    """The shape of every input and output of a batch."""
    scene, parts = config.task == "scene", len(config.modalities)
    rows = (sequences,) if scene else (sequences, shots)
    shapes = {m.name: (shots, m.feature_size) if scene else (*rows, m.feature_size) for m in config.modalities}
    if scene:
        shapes[WINDOWS] = (sequences, config.max_length)
    return {**shapes, LOGITS: (*rows, config.num_classes), CONTRIBUTIONS: (*rows, parts, config.num_classes)}


def input_names(config: ModelConfig) -> tuple[str, ...]:
    """The inputs among ``tensor_shapes``."""
    return tuple(name for name in tensor_shapes(config, 1, 1) if name not in (LOGITS, CONTRIBUTIONS))


def fill(config: ModelConfig, batch: Batch, movies: Sequence[Movie], arrays: Arrays) -> None:
    """Write a batch's inputs into arrays of its shapes. Shots that no window reads stay as they were."""
    names = [modality.name for modality in config.modalities]
    if config.task != "scene":
        for row, piece in enumerate(batch.pieces):
            for name, features in zip(names, movies[piece.movie], strict=True):
                arrays[name][row] = features
        return
    assert batch.windows is not None
    arrays[WINDOWS][:] = batch.windows.reshape(batch.sequences, -1)
    place = 0
    for piece in batch.pieces:
        count = piece.read.stop - piece.read.start
        for name, features in zip(names, movies[piece.movie], strict=True):
            arrays[name][place : place + count] = features[piece.read]
        place += count


def deliver(config: ModelConfig, batch: Batch, output: NDArray[Any], results: Sequence[NDArray[np.float32]]) -> None:
    """Copy the rows of an output of a batch to its movies' results, each (shots, ...)."""
    row = 0
    for piece in batch.pieces:
        if config.task == "scene":
            count = piece.wanted.stop - piece.wanted.start
            results[piece.movie][piece.wanted] = output[row : row + count]
            row += count
        else:
            results[piece.movie][:] = output[row]
            row += 1

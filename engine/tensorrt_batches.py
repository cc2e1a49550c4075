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

from megaseg.engine.config import ModelConfig
from megaseg.engine.tensorrt_plan import Profile

WINDOWS, LOGITS, CONTRIBUTIONS = "windows", "logits", "contributions"  # tensors of the ONNX model, with the modalities
Movie = Sequence[NDArray[np.float32]]
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Piece:
    """Shots begin to end of a movie: those whose logits a batch gives."""

    movie: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Batch:
    """One run: how many sequences and shots its tensors have, and whose they are; what is left over is not read."""

    sequences: int
    shots: int
    pieces: tuple[Piece, ...]


def batches(config: ModelConfig, profile: Profile, lengths: Sequence[int]) -> Iterator[Batch]:
    """Batches of movies of these lengths. Their sizes are few, so that a CUDA graph of each can be kept."""
    if config.task != "scene":
        movies = defaultdict(list)
        for movie, shots in enumerate(lengths):
            movies[shots].append(Piece(movie, 0, shots))
        for shots, same in movies.items():
            for first in range(0, len(same), profile.sequences[-1]):
                together = tuple(same[first : first + profile.sequences[-1]])
                yield Batch(len(together), shots, together)
        return
    movie = begin = 0
    for size, taken in _sizes(sum(lengths), *profile.sequences[1:]):
        pieces = []
        while taken:
            end = min(lengths[movie], begin + taken)
            pieces.append(Piece(movie, begin, end))
            taken -= end - begin
            movie, begin = (movie + 1, 0) if end == lengths[movie] else (movie, end)
        # Only the first piece may lack a movie's beginning, and only the last an end: L - 1 shots more are enough.
        yield Batch(size, size + config.max_length - 1, tuple(pieces))


def _sizes(total: int, tuned: int, most: int) -> Iterator[tuple[int, int]]:
    """Sizes of batches, and how many windows each takes: the most, the tuned number, or for the rest a power of two."""
    while total:
        taken = most if total >= most else min(total, tuned)
        yield (taken if taken >= tuned else min(tuned, 1 << (taken - 1).bit_length())), taken
        total -= taken


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
    reach = config.max_length // 2
    windows, offsets = arrays[WINDOWS], np.arange(config.max_length) - reach
    row = place = 0
    for piece in batch.pieces:
        movie, count = movies[piece.movie], piece.end - piece.begin
        last = len(movie[0]) - 1
        first, end = max(0, piece.begin - reach), min(last + 1, piece.end + reach)
        for name, features in zip(names, movie, strict=True):
            arrays[name][place : place + end - first] = features[first:end]
        centres = np.arange(piece.begin, piece.end)[:, None]
        windows[row : row + count] = (centres + offsets).clip(0, last) + (place - first)
        row, place = row + count, place + end - first
    windows[row:] = 0


def deliver(config: ModelConfig, batch: Batch, output: NDArray[Any], results: Sequence[NDArray[np.float32]]) -> None:
    """Copy the rows of an output of a batch to its movies' results, each (shots, ...)."""
    row = 0
    for piece in batch.pieces:
        count = piece.end - piece.begin
        if config.task == "scene":
            results[piece.movie][piece.begin : piece.end] = output[row : row + count]
            row += count
        else:
            results[piece.movie][:] = output[row]
            row += 1

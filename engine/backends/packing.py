"""Movies of any lengths in batches of few shapes, so that a device program compiled for a shape serves them all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.config import ModelConfig

Indices = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Shape:
    """Room of a batch: sequences (windows, movies), their latents, and rows of features."""

    sequences: int
    latents: int
    rows: int


@dataclass(frozen=True, slots=True)
class Piece:
    """What a batch holds of one movie: its rows ``read`` of features, and the rows ``wanted`` of its logits."""

    movie: int
    read: slice
    wanted: slice


@dataclass(frozen=True, slots=True)
class Pack:
    """One batch: the pieces one after the other, and the indices that ``Batch`` describes, filled up to the shape."""

    shape: Shape
    pieces: tuple[Piece, ...]
    row: Indices
    place: Indices
    slot: Indices
    begin: Indices


def packs(config: ModelConfig, lengths: Sequence[int], most: int) -> Iterator[Pack]:
    """Batches of all movies in their order, of at most ``most`` latents if that holds one sequence.

    Scene: windows of neighbouring movies share a batch, and a movie that fills more is cut, the shots that its windows
    share read again. Act: whole movies.
    """
    if config.task == "scene":
        yield from _window_packs(config, lengths, _power_of_two(max(1, most // config.max_length) + 1) // 2)
    else:
        yield from _movie_packs(config, lengths, most)


def _window_packs(config: ModelConfig, lengths: Sequence[int], most: int) -> Iterator[Pack]:
    runs: list[tuple[int, int, int]] = []  # movie, its windows from, to
    free = most
    for movie, shots in enumerate(lengths):
        begin = 0
        while begin < shots:
            end = min(shots, begin + free)
            runs.append((movie, begin, end))
            free -= end - begin
            begin = end
            if free == 0:
                yield _windows(config, lengths, runs)
                runs, free = [], most
    if runs:
        yield _windows(config, lengths, runs)


def _windows(config: ModelConfig, lengths: Sequence[int], runs: Sequence[tuple[int, int, int]]) -> Pack:
    length, half = config.max_length, config.max_length // 2
    windows = _power_of_two(sum(end - begin for _, begin, end in runs))
    # Only the first and the last run of a batch are cut off from shots on either side.
    shape = Shape(windows, windows * length, windows + 4 * half)
    row = np.zeros((windows, length), np.int32)
    pieces = []
    rows = filled = 0
    for movie, begin, end in runs:
        read = slice(max(0, begin - half), min(lengths[movie], end + half))
        shots = np.arange(begin, end)[:, None] + np.arange(length) - half
        row[filled : filled + end - begin] = shots.clip(0, lengths[movie] - 1) - read.start + rows
        pieces.append(Piece(movie, read, slice(begin, end)))
        rows += read.stop - read.start
        filled += end - begin
    place = np.tile(np.arange(length, dtype=np.int32), windows)
    begins = np.arange(windows + 1, dtype=np.int32) * length
    return Pack(shape, tuple(pieces), row.ravel(), place, _slots(place, length, config), begins)


def _movie_packs(config: ModelConfig, lengths: Sequence[int], most: int) -> Iterator[Pack]:
    batch: list[int] = []
    total = 0
    for movie, shots in enumerate(lengths):
        if batch and total + shots > most:
            yield _movies(config, lengths, batch)
            batch, total = [], 0
        batch.append(movie)
        total += shots
    if batch:
        yield _movies(config, lengths, batch)


def _movies(config: ModelConfig, lengths: Sequence[int], movies: Sequence[int]) -> Pack:
    own = [lengths[movie] for movie in movies]
    latents = _eighths(sum(own))
    shape = Shape(_power_of_two(len(own)), latents, latents)
    place, slot = np.zeros(latents, np.int32), np.zeros(latents, np.int32)
    begin = np.full(shape.sequences + 1, sum(own), np.int32)
    begin[: len(own) + 1] = np.cumsum([0, *own])
    for first, shots in zip(begin, own, strict=False):
        place[first : first + shots] = np.arange(shots)
        slot[first : first + shots] = _slots(place[first : first + shots], shots, config)
    pieces = tuple(Piece(movie, slice(0, shots), slice(0, shots)) for movie, shots in zip(movies, own, strict=True))
    return Pack(shape, pieces, np.arange(latents, dtype=np.int32), place, slot, begin)


def _slots(place: Indices, length: int, config: ModelConfig) -> Indices:
    """The alignment slot of each position (supplementary, Table 1a): floor(j L_n / n)."""
    return (place.astype(np.int64) * config.num_bottleneck // length).astype(np.int32)


def _power_of_two(count: int) -> int:
    """The least power of two that is no less."""
    return 1 << (count - 1).bit_length()


def _eighths(count: int) -> int:
    """Up to a multiple of an eighth of the power of two above: at most 14 % of the rows stand empty."""
    step = max(16, _power_of_two(count) // 8)
    return -(-count // step) * step

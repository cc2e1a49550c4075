"""Movies of any lengths in batches of few shapes, so that a device program compiled for a shape serves them all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.model.config import ModelConfig

Indices = NDArray[np.int32]
SMALL = 64  # windows: what a batch of fewer would save is less than another one costs


@dataclass(frozen=True, slots=True)
class Shape:
    """Room of a batch: sequences (windows, movies), their latents, and rows of features."""

    sequences: int
    latents: int
    rows: int


@dataclass(frozen=True, slots=True)
class Piece:
    """What a batch holds of one movie: its rows ``read`` of features, and the rows ``wanted`` of its result."""

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


def packs(config: ModelConfig, lengths: Sequence[int], most: int, windows: Sequence[range]) -> Iterator[Pack]:
    """Batches of all movies in their order, of at most ``most`` latents if that holds one sequence.

    Scene: windows of neighbouring movies share a batch, and a movie that fills more is cut, the shots that its windows
    share read again; ``windows`` are those wanted of each movie. Act: whole movies.
    """
    if config.task != "scene":
        yield from _movie_packs(config, lengths, most)
    elif [len(own) for own in windows] == list(lengths):
        yield from _window_packs(config, lengths, max(1, most // config.max_length))
    else:
        yield from _excerpt_packs(config, lengths, windows, max(1, most // config.max_length))


def _window_packs(config: ModelConfig, lengths: Sequence[int], most: int) -> Iterator[Pack]:
    movie = begin = 0
    for windows, taken in _sizes(sum(lengths), most):
        runs: list[tuple[int, int, int]] = []  # movie, its windows from, to
        while taken:
            end = min(lengths[movie], begin + taken)
            runs.append((movie, begin, end))
            taken -= end - begin
            movie, begin = (movie + 1, 0) if end == lengths[movie] else (movie, end)
        # Only the first run may lack shots before it and only the last shots after it: L - 1 more are enough.
        yield _windows(config, lengths, runs, windows, windows + config.max_length - 1)


def _excerpt_packs(config: ModelConfig, lengths: Sequence[int], windows: Sequence[range], most: int) -> Iterator[Pack]:
    """As ``_window_packs``, but every run may read L - 1 more shots than it has windows."""
    around = config.max_length - 1
    room = most + around  # rows

    def pack() -> Pack:
        rows = min(room, _power_of_two(sum(end - begin + around for _, begin, end in runs)))
        return _windows(config, lengths, runs, min(most, _power_of_two(filled)), rows, [own.start for own in windows])

    runs: list[tuple[int, int, int]] = []
    filled = 0
    for movie, own in enumerate(windows):
        begin = own.start
        while begin < own.stop:
            taken = min(own.stop - begin, most - filled, room - filled - around * (len(runs) + 1))
            if taken < 1:
                yield pack()
                runs, filled = [], 0
                continue
            runs.append((movie, begin, begin + taken))
            filled, begin = filled + taken, begin + taken
    if runs:
        yield pack()


def _sizes(total: int, most: int) -> Iterator[tuple[int, int]]:
    """Windows of each batch, and how many of them are wanted: the most; for the rest halves of it or powers of two.

    A batch that would be filled by less than three quarters is split, but for small ones.
    """
    while total:
        size = min(most, _power_of_two(total))
        if size > SMALL and total <= 3 * size // 4:
            size //= 2
        taken = min(total, size)
        yield size, taken
        total -= taken


def _windows(
    config: ModelConfig,
    lengths: Sequence[int],
    runs: Sequence[tuple[int, int, int]],
    windows: int,
    room: int,
    firsts: Sequence[int] | None = None,
) -> Pack:
    """A batch of runs (movie, its windows from, to) with room for rows; ``firsts``: each movie's first wanted one."""
    length, half = config.max_length, config.max_length // 2
    shape = Shape(windows, windows * length, room)
    row = np.zeros((windows, length), np.int32)
    pieces = []
    rows = filled = 0
    for movie, begin, end in runs:
        read = slice(max(0, begin - half), min(lengths[movie], end + half))
        shots = np.arange(begin, end)[:, None] + np.arange(length) - half
        row[filled : filled + end - begin] = shots.clip(0, lengths[movie] - 1) - read.start + rows
        first = firsts[movie] if firsts else 0
        pieces.append(Piece(movie, read, slice(begin - first, end - first)))
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

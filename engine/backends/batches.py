"""Movies of any lengths in batches of few shapes, so that a device program compiled for a shape serves them all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.graph.sequences import Sequences, Windows, alignment_slots, windows

Indices = NDArray[np.int32]
MIN_SPLIT = 64  # windows: below this, one batch with empty places is cheaper than two


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
class Batch:
    """The pieces one after the other, and the indices of their latents, filled up to the shape.

    ``row`` (latents,): a latent's row among the features read. ``place`` (latents,): its position j in its sequence.
    ``slot`` (latents,): floor(j slots / n). ``begin`` (sequences + 1,): each sequence's first latent. Latents from the
    last ``begin`` on belong to no sequence.
    """

    shape: Shape
    pieces: tuple[Piece, ...]
    row: Indices
    place: Indices
    slot: Indices
    begin: Indices


class Batches:
    """Batches of movies for models of one kind of sequences, of at most ``most`` latents if that holds one sequence.

    Windows of neighbouring movies share a batch, and a movie that fills more is cut, the shots that its windows share
    read again. Whole movies are never cut. ``slots`` are the rows of the tables that are read by alignment slot.
    """

    def __init__(self, sequences: Sequences, slots: int, most: int) -> None:
        self._sequences, self._slots, self._most = sequences, slots, most

    def of(self, lengths: Sequence[int], wanted: Sequence[range]) -> Iterator[Batch]:
        """Batches of movies of these lengths in their order, for the rows ``wanted`` of each."""
        if not isinstance(self._sequences, Windows):
            yield from self._of_movies(lengths)
            return
        length = self._sequences.length
        cut = _Windows(length, self._slots, lengths)
        if [len(own) for own in wanted] == list(lengths):
            yield from cut.of_movies(max(1, self._most // length))
        else:
            yield from cut.of_excerpts(wanted, max(1, self._most // length))

    def _of_movies(self, lengths: Sequence[int]) -> Iterator[Batch]:
        batch: list[int] = []
        total = 0
        for movie, shots in enumerate(lengths):
            if batch and total + shots > self._most:
                yield self._whole(lengths, batch)
                batch, total = [], 0
            batch.append(movie)
            total += shots
        if batch:
            yield self._whole(lengths, batch)

    def _whole(self, lengths: Sequence[int], movies: Sequence[int]) -> Batch:
        own = [lengths[movie] for movie in movies]
        latents = _eighths(sum(own))
        shape = Shape(_power_of_two(len(own)), latents, latents)
        place, slot = np.zeros(latents, np.int32), np.zeros(latents, np.int32)
        begin = np.full(shape.sequences + 1, sum(own), np.int32)
        begin[: len(own) + 1] = np.cumsum([0, *own])
        for first, shots in zip(begin, own, strict=False):
            place[first : first + shots] = np.arange(shots)
            slot[first : first + shots] = alignment_slots(shots, self._slots)
        pieces = tuple(Piece(movie, slice(0, shots), slice(0, shots)) for movie, shots in zip(movies, own, strict=True))
        return Batch(shape, pieces, np.arange(latents, dtype=np.int32), place, slot, begin)


class _Windows:
    """Batches of windows of movies of these lengths."""

    def __init__(self, length: int, slots: int, lengths: Sequence[int]) -> None:
        self._length, self._half, self._lengths = length, length // 2, lengths
        self._slot = alignment_slots(length, slots).astype(np.int32)

    def of_movies(self, most: int) -> Iterator[Batch]:
        """All windows of all movies, at most so many a batch."""
        movie = begin = 0
        for count, taken in _sizes(sum(self._lengths), most):
            runs: list[tuple[int, int, int]] = []  # movie, its windows from, to
            while taken:
                end = min(self._lengths[movie], begin + taken)
                runs.append((movie, begin, end))
                taken -= end - begin
                movie, begin = (movie + 1, 0) if end == self._lengths[movie] else (movie, end)
            # Only the first run may lack shots before it and only the last shots after it: L - 1 more are enough.
            yield self._batch(runs, count, count + self._length - 1, [0] * len(self._lengths))

    def of_excerpts(self, wanted: Sequence[range], most: int) -> Iterator[Batch]:
        """As ``of_movies`` for the windows wanted, where every run may read L - 1 more shots than it has windows."""
        around = self._length - 1
        room = most + around  # rows
        firsts = [own.start for own in wanted]

        def batch() -> Batch:
            rows = min(room, _power_of_two(sum(end - begin + around for _, begin, end in runs)))
            return self._batch(runs, min(most, _power_of_two(filled)), rows, firsts)

        runs: list[tuple[int, int, int]] = []
        filled = 0
        for movie, own in enumerate(wanted):
            begin = own.start
            while begin < own.stop:
                taken = min(own.stop - begin, most - filled, room - filled - around * (len(runs) + 1))
                if taken < 1:
                    yield batch()
                    runs, filled = [], 0
                    continue
                runs.append((movie, begin, begin + taken))
                filled, begin = filled + taken, begin + taken
        if runs:
            yield batch()

    def _batch(self, runs: Sequence[tuple[int, int, int]], count: int, room: int, firsts: Sequence[int]) -> Batch:
        """Runs (movie, its windows from, to) with room for rows; ``firsts``: each movie's first wanted window."""
        shape = Shape(count, count * self._length, room)
        row = np.zeros((count, self._length), np.int32)
        pieces = []
        rows = filled = 0
        for movie, begin, end in runs:
            read = slice(max(0, begin - self._half), min(self._lengths[movie], end + self._half))
            shots = windows(begin, end, self._length, self._lengths[movie])
            row[filled : filled + end - begin] = shots - read.start + rows
            pieces.append(Piece(movie, read, slice(begin - firsts[movie], end - firsts[movie])))
            rows += read.stop - read.start
            filled += end - begin
        place = np.tile(np.arange(self._length, dtype=np.int32), count)
        begins = np.arange(count + 1, dtype=np.int32) * self._length
        return Batch(shape, tuple(pieces), row.ravel(), place, np.tile(self._slot, count), begins)


def _sizes(total: int, most: int) -> Iterator[tuple[int, int]]:
    """Windows of each batch, and how many of them are wanted: the most; for the rest halves of it or powers of two.

    A batch that would be filled by less than three quarters is split, but for small ones.
    """
    while total:
        size = min(most, _power_of_two(total))
        if size > MIN_SPLIT and total <= 3 * size // 4:
            size //= 2
        taken = min(total, size)
        yield size, taken
        total -= taken


def _power_of_two(count: int) -> int:
    """The least power of two that is no less."""
    return 1 << (count - 1).bit_length()


def _eighths(count: int) -> int:
    """Up to a multiple of an eighth of the power of two above: at most 14 % of the rows stand empty."""
    step = max(16, _power_of_two(count) // 8)
    return -(-count // step) * step

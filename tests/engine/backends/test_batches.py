"""Movies in batches of few shapes: every shot once, with the neighbours that the model reads."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaseg.engine.backends.batches import Batch, Batches
from megaseg.engine.graph.sequences import Sequences, Whole, Windows

lengths = st.lists(st.integers(1, 60), min_size=1, max_size=8)


SLOTS = 2


def batches_of(sequences: Sequences, lengths: list[int], most: int) -> Iterator[Batch]:
    return Batches(sequences, SLOTS, most).of(lengths, [range(n) for n in lengths])


def features_of(shots: int, movie: int) -> np.ndarray:
    return movie * 1000 + np.arange(shots)


@given(lengths, st.integers(1, 200), st.sampled_from([1, 3, 5, 17]))
def test_windows_are_those_of_each_movie(shots: list[int], most: int, length: int) -> None:
    seen = [np.zeros(n, int) for n in shots]
    for batch in batches_of(Windows(length), shots, most):
        rows = np.concatenate([features_of(shots[p.movie], p.movie)[p.read] for p in batch.pieces])
        assert len(rows) <= batch.shape.rows
        assert batch.shape.latents == batch.shape.sequences * length == len(batch.row) == len(batch.place)
        assert batch.shape.latents <= max(most, length)
        window = 0
        for piece in batch.pieces:
            for shot in range(piece.wanted.start, piece.wanted.stop):
                expected = (np.arange(length) - length // 2 + shot).clip(0, shots[piece.movie] - 1)
                got = rows[batch.row[window * length : (window + 1) * length]]
                assert (got == features_of(shots[piece.movie], piece.movie)[expected]).all()
                window += 1
            seen[piece.movie][piece.wanted] += 1
        assert batch.row.max() < batch.shape.rows
        assert (batch.slot == batch.place * SLOTS // length).all()
    assert all((count == 1).all() for count in seen)


@given(lengths, st.integers(1, 200))
def test_whole_movies_stay_in_order(shots: list[int], most: int) -> None:
    movies = []
    for batch in batches_of(Whole(60), shots, most):
        own = np.diff(batch.begin)[: len(batch.pieces)]
        assert list(own) == [shots[p.movie] for p in batch.pieces]
        assert (np.diff(batch.begin)[len(batch.pieces) :] == 0).all()
        assert sum(own) <= max(most, own[0])
        assert batch.begin[-1] <= batch.shape.latents == batch.shape.rows
        for begin, piece in zip(batch.begin, batch.pieces, strict=False):
            n = shots[piece.movie]
            assert (batch.place[begin : begin + n] == np.arange(n)).all()
            assert (batch.slot[begin : begin + n] == np.arange(n) * SLOTS // n).all()
        movies += [p.movie for p in batch.pieces]
    assert movies == list(range(len(shots)))


@pytest.mark.parametrize(("sequences", "most"), [(Windows(17), 3), (Whole(3000), 16)])
def test_a_catalogue_needs_few_shapes(sequences: Sequences, most: int) -> None:
    shots = np.random.default_rng(0).integers(300, 3001, 200).tolist()
    shapes = {batch.shape for batch in batches_of(sequences, shots, 1 << 15)}
    assert len(shapes) <= most

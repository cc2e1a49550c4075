"""Movies in batches of few shapes: every shot once, with the neighbours that the model reads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import small_config

from megaseg.engine.backends.batches import packs

lengths = st.lists(st.integers(1, 60), min_size=1, max_size=8)


def features_of(shots: int, movie: int) -> np.ndarray:
    return movie * 1000 + np.arange(shots)


@given(lengths, st.integers(1, 200), st.sampled_from([1, 3, 5, 17]))
def test_windows_are_those_of_each_movie(shots: list[int], most: int, length: int) -> None:
    config = small_config(max_length=length)
    seen = [np.zeros(n, int) for n in shots]
    for pack in packs(config, shots, most):
        rows = np.concatenate([features_of(shots[p.movie], p.movie)[p.read] for p in pack.pieces])
        assert len(rows) <= pack.shape.rows
        assert pack.shape.latents == pack.shape.sequences * length == len(pack.row) == len(pack.place)
        assert pack.shape.latents <= max(most, length)
        window = 0
        for piece in pack.pieces:
            for shot in range(piece.wanted.start, piece.wanted.stop):
                expected = (np.arange(length) - length // 2 + shot).clip(0, shots[piece.movie] - 1)
                got = rows[pack.row[window * length : (window + 1) * length]]
                assert (got == features_of(shots[piece.movie], piece.movie)[expected]).all()
                window += 1
            seen[piece.movie][piece.wanted] += 1
        assert pack.row.max() < pack.shape.rows
        assert (pack.slot == pack.place * config.num_bottleneck // length).all()
    assert all((count == 1).all() for count in seen)


@given(lengths, st.integers(1, 200))
def test_whole_movies_are_packed_in_order(shots: list[int], most: int) -> None:
    config = small_config("act", max_length=60)
    movies = []
    for pack in packs(config, shots, most):
        own = np.diff(pack.begin)[: len(pack.pieces)]
        assert list(own) == [shots[p.movie] for p in pack.pieces]
        assert (np.diff(pack.begin)[len(pack.pieces) :] == 0).all()
        assert sum(own) <= max(most, own[0])
        assert pack.begin[-1] <= pack.shape.latents == pack.shape.rows
        for begin, piece in zip(pack.begin, pack.pieces, strict=False):
            n = shots[piece.movie]
            assert (pack.place[begin : begin + n] == np.arange(n)).all()
            assert (pack.slot[begin : begin + n] == np.arange(n) * config.num_bottleneck // n).all()
        movies += [p.movie for p in pack.pieces]
    assert movies == list(range(len(shots)))


@pytest.mark.parametrize("task", ["scene", "act"])
def test_a_catalogue_needs_few_shapes(task: str) -> None:
    config = small_config(task, max_length=17 if task == "scene" else 3000)
    shots = np.random.default_rng(0).integers(300, 3001, 200).tolist()
    shapes = {pack.shape for pack in packs(config, shots, 1 << 15)}
    assert len(shapes) <= (3 if task == "scene" else 16)

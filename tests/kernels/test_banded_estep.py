"""The banded E-step against the dense form in float64, and its band against Eq. 2 in fractions."""

from __future__ import annotations

import itertools
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
import torch
from comparison import WIDTHS, exact, normal, stored, values

from megaseg import kernels
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.kernels import reference
from megaseg.kernels.banded_estep import density_threshold

LENGTHS = ((1, 1), (1, 9), (7, 1), (5, 3), (3, 5), (13, 8), (25, 13), (40, 66), (131, 17), (64, 64), (37, 129))
SURELY = -1e30  # a threshold that every similarity meets


def movie(rng, shots, sentences, size, storage):
    """Rows of length about one, so that similarities are of the order of 1 / sqrt(size)."""
    return tuple(stored(normal(rng, n, size) / np.float32(np.sqrt(size)), storage) for n in (shots, sentences))


def assert_same(w, u, v, threshold, band=0.3):
    """Equal to the oracle, but for similarities closer to the threshold than float32 can tell."""
    exact_u, exact_v = exact(u, v)
    expected = reference.banded_estep(exact_u, exact_v, threshold, band).numpy()
    assert w.shape == expected.shape
    assert w.dtype == np.bool_
    assert set(np.unique(w.view(np.uint8))) <= {0, 1}
    # A sum of products in float32: at most half a unit in the last place of the sum of magnitudes for each addition.
    error = 2.0**-24 * (u.shape[1] + 2) * (exact_u.abs() @ exact_v.abs().T).numpy()
    unsure = np.abs((exact_u @ exact_v.T).numpy() - threshold) <= error + 2.0**-24 * abs(threshold)
    assert np.array_equal(w | unsure, expected | unsure)


@cache  # for every target and storage
def band_of(shots, sentences, band):
    """Eq. 2's two inequalities word by word, in fractions."""
    xi = Fraction(band)
    return np.array(
        [
            [
                j < Fraction(i * sentences, shots) + xi * sentences and i < Fraction(j * shots, sentences) + xi * shots
                for j in range(sentences)
            ]
            for i in range(shots)
        ]
    )


@pytest.mark.parametrize("size", WIDTHS)
def test_any_size(target, storage, rng, size):
    for shots, sentences in LENGTHS:
        u, v = movie(rng, shots, sentences, size, storage)
        threshold = float(np.float32(rng.normal() / np.sqrt(size) / 2))
        w = kernels.banded_estep(u, v, threshold=threshold, target=target)
        assert_same(w, u, v, threshold)
        bits = kernels.banded_estep(u, v, threshold=threshold, as_bits=True, target=target)
        assert bits.dtype == np.uint8
        assert np.array_equal(bits, np.packbits(w, axis=1, bitorder="little"))


@pytest.mark.parametrize("size", [768, 771])
def test_a_movie_of_the_model(target, storage, rng, size):
    u, v = movie(rng, 700, 37, size, storage)
    w = kernels.banded_estep(u, v, threshold=0.02, target=target)
    assert 0 < w.sum() < w.size / 2
    assert_same(w, u, v, 0.02)


def test_the_band_is_exact(target, storage):
    """Strict on both sides, also where the bound is a whole number, and where binary fractions miss the decimal."""
    bands = ("0.3", "0.5", "0.25", "0.07", "0.29", "0.1", "0.7", "1.0", "3.0", "0.01", "0.001")
    for (shots, sentences), band in itertools.product((*LENGTHS, (10, 10), (100, 7), (20, 30)), bands):
        u, v = (stored(np.ones((n, 3), np.float32), storage) for n in (shots, sentences))
        w = kernels.banded_estep(u, v, threshold=SURELY, band=float(band), target=target)
        assert np.array_equal(w, band_of(shots, sentences, band)), (shots, sentences, band)
        assert np.array_equal(w, reference.banded_estep(*exact(u, v), SURELY, float(band)).numpy())


def test_the_corners_of_the_band(target):
    """i = j = 0 is inside whatever the band; j = xi L_syn at i = 0, and i = xi L_sh at j = 0, are outside."""
    u, v = np.ones((20, 2), np.float32), np.ones((10, 2), np.float32)
    w = kernels.banded_estep(u, v, threshold=SURELY, band=0.3, target=target)
    assert w[0].tolist() == [True] * 3 + [False] * 7
    assert w[:, 0].tolist() == [True] * 6 + [False] * 14
    assert w[19].tolist() == [False] * 7 + [True] * 3  # j > 9.5 - 3
    narrow = kernels.banded_estep(u, v, threshold=SURELY, band=1e-9, target=target)
    assert narrow[::2].sum() == narrow.sum() == 10  # shots between two sentences have an empty band
    assert kernels.banded_estep(u, v, threshold=SURELY, band=1e300, target=target).all()


def test_a_similarity_that_equals_the_threshold_is_one(target, storage):
    """Whole numbers add without rounding: the comparison itself is seen."""
    u, v = stored(np.ones((9, 37), np.float32), storage), stored(np.ones((9, 37), np.float32), storage)
    for threshold, one in ((37, True), (np.nextafter(np.float32(37), np.float32(38)), False), (-37, True)):
        w = kernels.banded_estep(u, v, threshold=float(threshold), band=1.0, target=target)
        assert w.all() if one else not w.any()


def test_all_zeros_is_a_result(target, storage, rng):
    u, v = movie(rng, 30, 9, 20, storage)
    for threshold in (1e30, np.inf):
        for as_bits in (False, True):
            w = kernels.banded_estep(u, v, threshold=threshold, as_bits=as_bits, target=target)
            assert not w.any()
    zero = stored(np.zeros((5, 20), np.float32), storage)
    assert not kernels.banded_estep(zero, v, threshold=0.1, target=target).any()


def test_a_batch_is_its_movies_on_any_number_of_threads(target, storage, rng):
    movies = [movie(rng, *lengths, 65, storage) for lengths in (*LENGTHS, (900, 21))]
    us, vs = [list(arrays) for arrays in zip(*movies, strict=True)]
    for as_bits in (False, True):
        options = {"threshold": 0.03, "as_bits": as_bits, "target": target}
        one_by_one = [kernels.banded_estep(u, v, **options) for u, v in movies]
        for threads in (1, 2, 3, 7):
            batch = kernels.banded_estep(us, vs, num_threads=threads, **options)
            assert all(np.array_equal(a, b) for a, b in zip(batch, one_by_one, strict=True))
    assert kernels.banded_estep([], [], threshold=0, target=target) == []


def test_a_shot_does_not_depend_on_its_neighbours(target, storage, rng):
    """The same rows at every place of a tile, with a threshold within the rounding of every similarity."""
    u, v = movie(rng, 1, 1, 333, storage)
    similarity = float(np.vdot(values(u).astype(np.float64), values(v).astype(np.float64)))
    u, v = np.repeat(u, 31, axis=0), np.repeat(v, 23, axis=0)
    for step in range(-8, 9):
        threshold = similarity + step * 2.0**-28
        w = kernels.banded_estep(u, v, threshold=threshold, band=1.0, target=target)
        assert w.all() or not w.any()


def test_rows_may_stand_apart_and_nothing_is_read_past_them(target, storage, rng):
    wide = stored(np.full((33, 41), np.nan, np.float32), storage)
    u, v = movie(rng, 33, 12, 35, storage)
    wide[:, :35] = u
    got = kernels.banded_estep(wide[:, :35], v, threshold=0.01, target=target)
    assert np.array_equal(got, kernels.banded_estep(u, v, threshold=0.01, target=target))


def test_a_similarity_that_is_not_finite_is_refused(target, storage, rng):
    for value, (name, row) in itertools.product((np.nan, np.inf), (("u", 0), ("u", 29), ("v", 0), ("v", 8))):
        u, v = (normal(rng, n, 20) for n in (30, 9))
        {"u": u, "v": v}[name][row, 19] = value
        u, v = stored(u, storage), stored(v, storage)
        with pytest.raises(FeatureError, match="shots, sentences: expected finite similarities"):
            kernels.banded_estep(u, v, threshold=0.1, target=target)
        fine = movie(rng, 30, 9, 20, storage)
        with pytest.raises(FeatureError, match="of movie 1: expected finite"):
            kernels.banded_estep([fine[0], u], [fine[1], v], threshold=0.1, target=target, num_threads=2)


def test_wrong_arguments_are_refused():
    u, v = np.zeros((4, 3), np.float32), np.zeros((2, 3), np.float32)
    for shots, sentences, message in (
        (u[:0], v, r"shots: expected rows .*, got shape \(0, 3\)"),
        (u, v[:0], r"sentences: expected rows .*, got shape \(0, 3\)"),
        (u[:, :0], v[:, :0], "shots: expected rows"),
        (u[0], v, r"shots: .*got shape \(3,\)"),
        (u, v[:, :2], "sentences: expected rows of 3 values of float32, as shots have, got 2"),
        (u, v.astype(np.uint16), "sentences: .*got 3 of uint16"),
        ([u, u], [v], "sentences: expected one array for each of 2 movies, got 1"),
        ([u, u], [v, v[:0]], r"sentences\[1\]: expected rows"),
    ):
        with pytest.raises(FeatureError, match=message):
            kernels.banded_estep(shots, sentences, threshold=0.5)
    for band in (0, -0.1, np.nan, np.inf, None, "0.3"):
        with pytest.raises(FeatureError, match="band: expected a positive number"):
            kernels.banded_estep(u, v, threshold=0.5, band=band)
    for threshold in (np.nan, None, "0.5"):
        with pytest.raises(FeatureError, match="threshold: expected a number"):
            kernels.banded_estep(u, v, threshold=threshold)
    with pytest.raises(UnsupportedError, match=r"banded_estep: .*got cpu float64"):
        kernels.banded_estep(u.astype(np.float64), v.astype(np.float64), threshold=0.5)
    with pytest.raises(UnsupportedError, match="portable has no bfloat16"):
        kernels.banded_estep(u.astype(np.uint16), v.astype(np.uint16), threshold=0.5, target="portable")
    with pytest.raises(ValueError, match="contiguous rows"):
        kernels.banded_estep(np.zeros((3, 4), np.float32).T, v, threshold=0.5)


@pytest.mark.parametrize("density", [0.0, 0.002, 0.03, 0.5, 1.0])
def test_the_kernel_finds_the_pairs_of_its_own_lambda(target, storage, rng, density):
    """At every density as many as the quantile asks for, however the target and the type round their sums."""
    for movies in ([(40, 12)], [(1, 1)], [(131, 17), (7, 1), (64, 64)]):
        us, vs = zip(*(movie(rng, *lengths, 65, storage) for lengths in movies), strict=True)
        inside = sum(w.sum() for w in kernels.banded_estep(us, vs, threshold=SURELY, target=target))
        threshold = density_threshold(us, vs, density, target=target)
        kept = sum(w.sum() for w in kernels.banded_estep(us, vs, threshold=threshold, target=target))
        assert kept == 1 + int(Fraction(str(density)) * (inside - 1))
        above = float(np.nextafter(np.float32(threshold), np.float32(np.inf)))
        assert sum(w.sum() for w in kernels.banded_estep(us, vs, threshold=above, target=target)) < kept


def test_pairs_that_tie_at_lambda_are_all_kept(target, storage):
    for value in (1.0, -1.0, 0.0):
        u, v = (stored(np.full((n, 3), x, np.float32), storage) for n, x in ((9, 1.0), (4, value)))
        threshold = density_threshold([u], [v], 0.1, band=1.0, target=target)
        assert threshold == 3 * value
        assert kernels.banded_estep(u, v, threshold=threshold, band=1.0, target=target).all()


def test_a_density_that_is_no_share_is_refused(rng):
    u, v = movie(rng, 5, 3, 8, "float32")
    for density in (-0.1, 1.1, np.nan, None):
        with pytest.raises(FeatureError, match="density: expected a share from 0 to 1"):
            density_threshold([u], [v], density)
    with pytest.raises(FeatureError, match="shots: expected one movie or more"):
        density_threshold([], [], 0.5)


@pytest.mark.parametrize("threads", [-1, 1.5, 2**31, None, "2", True, np.nan])
def test_numbers_of_threads_that_cannot_be_are_refused_by_every_op(threads, rng):
    u, v = movie(rng, 5, 3, 8, "float32")
    ops = {
        "banded_estep": lambda: kernels.banded_estep(u, v, threshold=0.5, num_threads=threads),
        "linear": lambda: kernels.linear(u, v, num_threads=threads),
        "bottleneck_attention": lambda: kernels.bottleneck_attention(
            u, u, u, np.array([0, 5], np.int32), heads=2, bottlenecks=0, num_threads=threads
        ),
        "window_attention": lambda: kernels.window_attention(
            *(normal(rng, 3, 12), np.zeros((1, 3), np.int32), normal(rng, 3, 12), normal(rng, 12)),
            *(normal(rng, 1, 12), normal(rng, 1, 3)),
            heads=2,
            num_threads=threads,
        ),
    }
    for run in ops.values():
        with pytest.raises(UnsupportedError, match="num_threads: expected 0"):
            run()


def test_memory_is_that_of_the_bits(rng):
    """W of 40,000 x 2,000 would be 320 MB as similarities; as bits it is 10 MB, and little else is taken."""

    def peak():
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024

    u, v = normal(rng, 40_000, 4), normal(rng, 2000, 4)
    kernels.banded_estep(u[:9], v[:9], threshold=0.5, as_bits=True)
    before = peak()
    kernels.banded_estep(u, v, threshold=0.5, as_bits=True)
    assert peak() - before < 30


def test_the_oracle_is_the_equation():
    """Eq. 2 on similarities that are all one, in torch's own words."""
    for shots, sentences in LENGTHS:
        u, v = torch.ones(shots, 2), torch.ones(sentences, 2)
        w = reference.banded_estep(u, v, 0.5, 0.3).numpy()
        assert np.array_equal(w, band_of(shots, sentences, "0.3"))

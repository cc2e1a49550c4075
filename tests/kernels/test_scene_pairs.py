"""Scene pairs against the greedy choice word by word, in float64 and over the averaged matrix itself."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from comparison import normal, stored, values

from megaseg import _C, kernels
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.kernels import reference

SIZES = ((9, 9), (9, 40), (40, 9), (10, 10), (25, 13), (33, 41), (72, 73), (100, 150), (137, 203), (300, 80))


def brute_force(u, v, window=9, share=0.5):
    """Similarities of all shots, their mean over window x window, and a loop over the candidates, best first."""
    a = u.astype(np.float64) @ v.astype(np.float64).T
    m, n = (x - window + 1 for x in a.shape)
    b = {(i, j): a[i : i + window, j : j + window].sum() / window**2 for i in range(m) for j in range(n)}
    ranked = sorted(b, key=lambda at: (-b[at], at))
    last = b[ranked[math.ceil(Fraction(str(share)) * len(ranked)) - 1]]
    taken = []
    for i, j in ranked:
        if b[i, j] >= last and all(abs(i - m) >= window and abs(j - n) >= window for m, n in taken):
            taken.append((i, j))
    return taken, [b[at] for at in taken]


def whole(rng, rows, size, most=1):
    """Small whole numbers, whose sums are exact in every type: ties are decided, not rounded."""
    return rng.integers(-most, most, (rows, size), endpoint=True).astype(np.float32)


def assert_equal(got, expected):
    assert np.array_equal(got.first, expected.first)
    assert np.array_equal(got.scores, expected.scores)
    assert (got.first.dtype, got.scores.dtype) == (np.int32, np.float32)
    assert got.first.shape == (len(got), 2)


def assert_greedy(got, u, v, window, share, error):
    """A greedy choice for scores that are within ``error`` of float64's: each pair the best of those left, or tied."""
    a, b = (np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), window, axis=0).sum(-1) for x in (u, v))
    scores = a @ b.T / window**2
    count = math.ceil(Fraction(str(share)) * scores.size)
    last = np.sort(scores, axis=None)[-count]
    i, j = np.ogrid[: scores.shape[0], : scores.shape[1]]
    for (row, column), score in zip(got.first, got.scores, strict=True):
        assert abs(scores[row, column] - score) <= error
        assert scores[row, column] >= max(scores.max(), last) - 2 * error
        scores[(abs(i - row) < window) | (abs(j - column) < window)] = -np.inf
    assert scores.max() < last + 2 * error


@pytest.mark.parametrize("share", [0.001, 0.05, 0.5, 1.0])
@pytest.mark.parametrize("window", [1, 2, 9])
def test_the_oracle_is_the_greedy_choice(rng, window, share):
    for m, n in ((window, window), (window, 30), (30, window), (33, 41)):
        u, v = whole(rng, m, 3), whole(rng, n, 3)
        (got,) = reference.scene_pairs([u], [v], window=window, share=share)
        taken, scores = brute_force(u, v, window, share)
        assert [tuple(pair) for pair in got.first] == taken
        assert np.allclose(got.scores, scores, atol=1e-6)
        assert got.first.dtype == np.int32
        assert got.scores.dtype == np.float32


@pytest.mark.parametrize("share", [1e-9, 0.03, 0.5, 0.97, 1])
@pytest.mark.parametrize("size", [1, 5, 8, 33])
def test_ties_are_decided_alike_on_every_target(target, storage, rng, size, share):
    """Exact sums: many scores are equal, and the list is the oracle's pair by pair."""
    for m, n in SIZES:
        u, v = whole(rng, m, size), whole(rng, n, size)
        (expected,) = reference.scene_pairs([u], [v], share=share)
        (got,) = kernels.scene_pairs(
            [stored(u, storage)], [stored(v, storage)], share=share, target=target, num_threads=1
        )
        assert_equal(got, expected)


@pytest.mark.parametrize("size", [17, 64, 130, 512])
def test_any_size(target, storage, rng, size):
    for m, n in SIZES:
        u, v = (stored(normal(rng, rows, size) / np.float32(np.sqrt(size)), storage) for rows in (m, n))
        share = round(float(rng.uniform(0.05, 1)), 2)
        (got,) = kernels.scene_pairs([u], [v], share=share, target=target, num_threads=1)
        # Window sums of bfloat16 are rounded to eight digits before they are multiplied.
        assert_greedy(got, values(u), values(v), 9, share, 2e-6 if storage == "float32" else 4e-4)


@pytest.mark.parametrize("window", [1, 2, 5, 20, 64])
def test_any_window(target, rng, window):
    for m, n in ((window, window), (window + 1, 70), (130, window + 40)):
        if min(m, n) >= window:
            u, v = whole(rng, m, 7), whole(rng, n, 7)
            (expected,) = reference.scene_pairs([u], [v], window=window)
            assert_equal(kernels.scene_pairs([u], [v], window=window, target=target)[0], expected)


@pytest.mark.parametrize("seed", range(20))
def test_scenes_that_repeat(seed):
    """Duplicate rows, runs of equal rows and a common part: what films have, and where lists are struck out."""
    rng = np.random.default_rng(seed)
    pool = rng.integers(-3, 4, (12, 6))

    def movie():
        shots = np.concatenate([np.repeat(pool[[rng.integers(12)]], rng.integers(1, 25), axis=0) for _ in range(30)])
        return (shots + rng.integers(0, 2, shots.shape) * rng.integers(0, 2)).astype(np.float32)

    u, v = movie(), movie()
    share, window = float(rng.choice([0.01, 0.1, 0.5, 1.0])), int(rng.choice([3, 9]))
    (expected,) = reference.scene_pairs([u], [v], share=share, window=window)
    assert_equal(kernels.scene_pairs([u], [v], share=share, window=window)[0], expected)


@pytest.mark.parametrize("value", [1.0, 0.0, -1.0])
def test_constant_matrices(target, storage, value):
    """All scores tie: all are candidates, whatever the share, and scenes follow each other in order."""
    u, v = np.full((60, 3), 1, np.float32), np.full((100, 3), value, np.float32)
    (got,) = kernels.scene_pairs([stored(u, storage)], [stored(v, storage)], share=0.01, target=target)
    assert got.first.tolist() == [[9 * k, 9 * k] for k in range(6)]
    assert got.scores.tolist() == [3 * value] * 6


def test_the_share_counts_candidates_with_those_that_tie():
    """One column of B, one row a score: 10 to 1, two of each. Windows of one shot."""
    u, v = np.repeat(np.arange(10, 0, -1), 2)[:, None].astype(np.float32), np.ones((20, 1), np.float32)
    for share, rows in ((0.05, 2), (0.1, 2), (0.1000001, 4), (0.15, 4), (0.2, 4), (0.95, 20), (1, 20)):
        (got,) = kernels.scene_pairs([u], [v], window=1, share=share)
        assert got.first[:, 0].tolist() == list(range(rows)), share
    (got,) = kernels.scene_pairs([u], [-v], window=1, share=0.7)  # 280 of 400: from -1 to -7
    assert got.scores.tolist() == [-1, -1, -2, -2, -3, -3, -4, -4, -5, -5, -6, -6, -7, -7]


def test_zero_is_one_number(target):
    """0 and -0 tie, among the candidates and in order."""
    u = np.array([[-0.0], [1e-30], [-1e-30], [0.0]], np.float32)  # products underflow to either zero
    v = np.array([[1e-30], [-1e-30], [0.0], [1.0]], np.float32)
    (got,) = kernels.scene_pairs([u], [v], window=1, share=0.5, target=target)
    assert got.first.tolist() == [[1, 3], [0, 0], [2, 1], [3, 2]]
    assert np.array_equal(np.signbit(got.scores), [False] * 4)


@pytest.mark.parametrize("scale", [1e-18, 1.0, 1e15])
def test_the_lowest_candidate_is_counted_exactly(rng, scale):
    """Windows of one shot and values far apart: what is taken reaches the last candidate itself."""
    for m, n in ((200, 1), (150, 150), (64, 300)):
        u = (rng.standard_normal((m, 1)) * scale).astype(np.float32)
        v = rng.standard_normal((n, 1)).astype(np.float32)
        for share in (0.25, 0.5, 0.75):
            (expected,) = reference.scene_pairs([u], [v], window=1, share=share)
            assert_equal(kernels.scene_pairs([u], [v], window=1, share=share)[0], expected)


def test_a_batch_is_its_pairs_on_any_number_of_threads(target, storage, rng):
    sizes = (*SIZES, (400, 30), (9, 500), (230, 310))
    us, vs = ([stored(normal(rng, pair[i], 65), storage) for pair in sizes] for i in (0, 1))
    alone = [kernels.scene_pairs([u], [v], target=target, num_threads=1)[0] for u, v in zip(us, vs, strict=True)]
    for threads in (1, 2, 3):
        for count in (1, 3, len(sizes)):
            batch = kernels.scene_pairs(us[-count:], vs[-count:], target=target, num_threads=threads)
            assert len(batch) == count
            for got, expected in zip(batch, alone[-count:], strict=True):
                assert_equal(got, expected)
    assert kernels.scene_pairs([], [], target=target) == []


def test_the_order_of_the_movies_is_that_of_the_pairs(rng):
    """B of (v, u) is the transpose: the same pairs of scenes, where no two scores tie."""
    u, v = normal(rng, 120, 16), normal(rng, 90, 16)
    (one,), (other,) = kernels.scene_pairs([u], [v]), kernels.scene_pairs([v], [u])
    assert one.first.tolist() == other.first[:, ::-1].tolist()


def test_rows_may_stand_apart_and_nothing_is_read_past_them(target, storage, rng):
    wide = stored(np.full((33, 41), np.nan, np.float32), storage)
    u, v = (stored(normal(rng, rows, 35), storage) for rows in (33, 40))
    wide[:, :35] = u
    (got,) = kernels.scene_pairs([wide[:, :35]], [v], target=target)
    assert_equal(got, kernels.scene_pairs([u], [v], target=target)[0])
    (got,) = kernels.scene_pairs([v], [wide[:, :35]], target=target)
    assert_equal(got, kernels.scene_pairs([v], [u], target=target)[0])


@pytest.mark.skipif("bfloat16" not in _C.compute_types(), reason="this machine has no products of bfloat16")
def test_bfloat16_is_its_rounded_sums(rng):
    """The bits are read as bfloat16: as the oracle does, and unlike float32 of the same numbers."""
    u, v = (stored(normal(rng, rows, 48), "bfloat16") for rows in (80, 70))
    (expected,) = reference.scene_pairs([u], [v])
    (got,) = kernels.scene_pairs([u], [v])
    assert np.array_equal(got.first, expected.first)
    assert np.allclose(got.scores, expected.scores, rtol=1e-5, atol=1e-6)
    (wide,) = kernels.scene_pairs([values(u)], [values(v)])
    assert not np.array_equal(got.scores, wide.scores)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_named(target, storage, rng, value):
    for name, row in (("us", 0), ("us", 29), ("vs", 0), ("vs", 18)):
        for threads in (1, 2):
            u, v = (normal(rng, rows, 20) for rows in (30, 19))
            fine = stored(u.copy(), storage), stored(v.copy(), storage)
            {"us": u, "vs": v}[name][row, 19] = value
            us, vs = [fine[0], stored(u, storage)], [fine[1], stored(v, storage)]
            with pytest.raises(FeatureError, match=rf"{name}\[1\]: expected finite values"):
                kernels.scene_pairs(us, vs, target=target, num_threads=threads)


def test_similarities_that_overflow_are_refused(target, storage):
    u = stored(np.full((9, 3), 1e30, np.float32), storage)
    with pytest.raises(FeatureError, match="us, vs of pair 0: expected finite similarities"):
        kernels.scene_pairs([u], [u], target=target)


def test_wrong_arguments_are_refused():
    u, v = np.zeros((9, 3), np.float32), np.zeros((12, 3), np.float32)
    for us, vs, message in (
        ([u[:8]], [v], r"us\[0\]: expected 9 rows or more, .*got shape \(8, 3\)"),
        ([u, u], [v, v[:8]], r"vs\[1\]: expected 9 rows or more"),
        ([u[:, :0]], [v[:, :0]], r"us\[0\]: .*one or more values, got shape \(9, 0\)"),
        ([u[0]], [v], r"us\[0\]: .*got shape \(3,\)"),
        ([u], [v[:, :2]], r"vs\[0\]: expected rows of 3 values of float32, as us, got 2 of float32"),
        ([u], [v.astype(np.uint16)], r"vs\[0\]: .*got 3 of uint16"),
        ([u, u], [v], "vs: expected one array for each of 2 of us, got 1"),
    ):
        with pytest.raises(FeatureError, match=message):
            kernels.scene_pairs(us, vs)
    for share in (0, -0.1, 1.1, np.nan, None, "0.5"):
        with pytest.raises(FeatureError, match="share: expected a share above 0, at most 1"):
            kernels.scene_pairs([u], [v], share=share)
    for window in (0, -1, 1.5, None, True):
        with pytest.raises(FeatureError, match="window: expected a positive number of shots"):
            kernels.scene_pairs([u], [v], window=window)
    with pytest.raises(UnsupportedError, match=r"scene_pairs: .*got cpu float64"):
        kernels.scene_pairs([u.astype(np.float64)], [v.astype(np.float64)])
    with pytest.raises(UnsupportedError, match="portable has no bfloat16"):
        kernels.scene_pairs([u.astype(np.uint16)], [v.astype(np.uint16)], target="portable")
    with pytest.raises(UnsupportedError, match="num_threads: expected 0"):
        kernels.scene_pairs([u], [v], num_threads=-1)
    with pytest.raises(ValueError, match="contiguous rows"):
        kernels.scene_pairs([np.zeros((3, 12), np.float32).T], [v])


@pytest.mark.parametrize("columns", [64 * 64 + 8, 64 * 64 + 9, 9000])
def test_movies_of_many_shots(rng, columns):
    """More columns than there are bests of a row: blocks share one, and are struck out and multiplied together."""
    u, v = whole(rng, 60, 3, most=9), whole(rng, columns, 3, most=9)
    (expected,) = reference.scene_pairs([u], [v], share=0.9)
    for threads in (1, 2):
        assert_equal(kernels.scene_pairs([u], [v], share=0.9, num_threads=threads)[0], expected)


def test_no_matrix_of_scores_is_held(rng):
    """B of 9,000 x 9,000 would be 324 MB; window sums, panels and 64 bests a row are a tenth of that."""

    def status(key):
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(key)) / 1024

    u, v = normal(rng, 9000, 8), normal(rng, 9000, 8)
    kernels.scene_pairs([u[:30]], [v[:30]])
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak starts again from here
    before = status("VmRSS")
    kernels.scene_pairs([u], [v], share=0.001)
    assert status("VmHWM") - before < 32

"""Products with weights in ten bits, rows of int16, on every target: against float64 on the values multiplied."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from comparison import ROWS, WIDTHS, assert_close, assert_untouched_around, exact, normal, space, stored, values

from megaseg import _C, kernels
from megaseg.kernels import reference

EPS = np.finfo(np.float32).eps
GRID, MOST, MOST_WEIGHT = 768, 8191, 511


def storages(target):
    return [name for name in _C.product_types(target) if name in ("float32", "bfloat16")]


def rows_of(x, target):
    """The rows that are multiplied, in float64."""
    elements, grids = kernels.cast(x, "int16", target=target)
    steps = np.repeat(grids[..., 1].astype(np.float64), GRID, axis=1)[:, : x.shape[1]]
    return elements * steps


def weight_of(weight, target):
    """The weight that is multiplied, in float64: what unit rows give, as a whole number of steps."""
    step = (np.abs(weight).max(axis=1) / np.float32(MOST_WEIGHT)).astype(np.float64)[:, None]
    got = kernels.linear(np.eye(weight.shape[1], dtype=np.float32), weight, compute_type="int16", target=target).T
    return np.rint(got / np.where(step == 0, 1, step)) * step


def expected(x, weight, bias=None, residual=None, *, gelu=False, target):
    inner = (torch.from_numpy(a) for a in (rows_of(x, target), weight_of(weight, target)))
    return reference.linear(*inner, *exact(bias, residual), gelu=gelu)


def tolerance(x, weight, coarse=False):
    """A sum of products in float32 by block, rounding errors taken as independent, with a factor of 4 in hand."""
    return 1.5e-5 * coarse + 4 * EPS * (1 + np.sqrt(x.shape[1]) * np.abs(x).max(initial=0) * np.abs(weight).max() / 2)


def linear(*arguments, **options):
    return kernels.linear(*arguments, compute_type="int16", **options)


@pytest.mark.parametrize("size", [*WIDTHS, 768, 769, 1537])
def test_rows_in_int16(target, rng, size):
    for kind, rows in itertools.product(storages(target), ROWS):
        x = stored(normal(rng, rows, size) * rng.uniform(1e-3, 1e3, (rows, 1)).astype(np.float32), kind)
        elements, grids = kernels.cast(x, "int16", target=target)
        assert (elements.dtype, elements.shape) == (np.int16, (rows, size))
        assert grids.shape == (rows, -(-size // GRID), 2)
        assert np.all(grids[..., 0] == 0)
        assert np.all(np.abs(elements) <= MOST)
        steps = np.repeat(grids[..., 1], GRID, axis=1)[:, :size].astype(np.float64)
        assert np.all(np.abs(elements * steps - values(x)) <= 0.501 * steps)


def test_rows_of_nothing_and_of_no_number(target):
    x = np.zeros((4, 20), np.float32)
    x[1, 3], x[2, 19], x[3, 0] = np.nan, np.inf, 1e-42
    elements, grids = kernels.cast(x, "int16", target=target)
    assert np.all(grids[[0, 3]] == 0)
    assert np.all(elements[[0, 3]] == 0)
    assert not np.isfinite(linear(x, np.ones((1, 20), np.float32), target=target)[1:3]).any()
    assert np.isnan(grids[1, 0, 1])
    assert np.isinf(grids[2, 0, 1])


@pytest.mark.parametrize("n", WIDTHS)
def test_weights_are_nearest(target, rng, n):
    """Ten bits: half a step from the weight, 511 steps to the largest of a column."""
    weight = normal(rng, n, 37) * np.float32(10.0) ** rng.integers(-4, 5, (n, 1)).astype(np.float32)
    step = np.abs(weight).max(axis=1, keepdims=True) / MOST_WEIGHT
    assert np.all(np.abs(weight_of(weight, target) - weight) <= 0.501 * step)


@pytest.mark.parametrize("n", WIDTHS)
def test_any_size(target, rng, n):
    for rows, gelu in itertools.product((*ROWS, 15, 97), (False, True)):
        k = int(rng.choice(WIDTHS))
        x, weight, bias = normal(rng, rows, k), normal(rng, n, k), normal(rng, n)
        for kind in storages(target):
            residual, out = stored(normal(rng, rows, n), kind), space(kind, rows, n)
            linear(x, weight, bias, residual=residual, gelu=gelu, out=out, target=target)
            oracle = expected(x, weight, bias, residual, gelu=gelu, target=target)
            assert_close(out, oracle, tolerance(x, weight, gelu))
            assert_untouched_around(out)


@pytest.mark.parametrize("k", [127, 128, 129, 257, 768, 1025, 3073])
def test_inputs_longer_than_a_block(target, rng, k):
    x, weight, bias, residual = normal(rng, 9, k), normal(rng, 70, k), normal(rng, 70), normal(rng, 9, 70)
    got = linear(x, weight, bias, residual=residual, target=target)
    assert_close(got, expected(x, weight, bias, residual, target=target), tolerance(x, weight))


def test_rows_that_stand_apart(target, rng):
    """Nothing is read past k in a row: NaN follows it."""
    weight = normal(rng, 40, 35)
    for kind in storages(target):
        x = space(kind, 37, 35)
        x[:] = stored(normal(rng, 37, 35), kind)
        assert_close(linear(x, weight, target=target), expected(x, weight, target=target), tolerance(values(x), weight))


def test_largest_sums_are_exact(target):
    """Elements and weights of the largest magnitude everywhere: no block's sum wraps around."""
    for k in (128, 768, 3073):
        x, weight = np.full((2, k), MOST, np.float32), np.full((3, k), MOST_WEIGHT, np.float32)
        weight[1] = -MOST_WEIGHT
        product = np.float32(MOST * MOST_WEIGHT) * np.float32(k)
        assert np.allclose(linear(x, weight, target=target), product * np.float32([1, -1, 1]), rtol=4 * EPS, atol=0)


def test_no_number_in_a_row_is_no_number_in_its_column(target, rng):
    x, weight = normal(rng, 3, 70), normal(rng, 40, 70)
    weight[7, 69], weight[8, 0] = np.nan, np.inf
    got = linear(x, weight, target=target)
    assert not np.isfinite(got[:, 7:9]).any()
    assert np.isfinite(np.delete(got, [7, 8], axis=1)).all()


def test_targets_with_fused_additions_agree_bit_by_bit(rng):
    targets = [name for name in _C.available_targets() if name != "portable"]
    for rows, n, k in ((1, 64, 768), (19, 130, 257), (70, 70, 1511)):
        x, weight, bias = normal(rng, rows, k), normal(rng, n, k), normal(rng, n)
        results = [linear(x, weight, bias, target=name) for name in targets]
        assert all(np.array_equal(results[0], other) for other in results[1:])


def test_rows_do_not_depend_on_their_neighbours_or_on_threads(target, rng):
    x, weight, bias = normal(rng, 203, 900), normal(rng, 130, 900), normal(rng, 130)
    whole = linear(x, weight, bias, gelu=True, target=target)
    for threads in (2, 3):
        assert np.array_equal(whole, linear(x, weight, bias, gelu=True, target=target, num_threads=threads))
    for begin, end in ((0, 1), (3, 10), (50, 203)):
        assert np.array_equal(whole[begin:end], linear(x[begin:end], weight, bias, gelu=True, target=target))


def test_weights_take_five_eighths_of_bfloat16s(target):
    size = _C.linear_packed_size("int16", 768, 3072, target=target)
    assert size == 768 * 3072 * 10 // 8 + 2 * 4 * 768

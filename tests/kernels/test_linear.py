"""Every target with every type that it multiplies, against the oracle on the values that are multiplied."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from comparison import ROWS, WIDTHS, assert_close, assert_untouched_around, exact, normal, space, stored, values

from megaseg import _C, kernels
from megaseg.errors import UnsupportedError
from megaseg.kernels import reference

EPS = np.finfo(np.float32).eps


GRID = 768


def on_grids(x):
    """x as int8 has it: 255 steps from the least to the largest of every 768 values of a row."""
    parts = []
    for part in np.split(x, range(GRID, x.shape[1], GRID), axis=1) if x.size else ():
        low, span = part.min(axis=1, keepdims=True), np.ptp(part, axis=1, keepdims=True)
        steps = (part - low) * (np.float32(255) / np.where(span == 0, np.float32(1), span))
        parts.append(low + np.rint(steps).astype(np.float64) * (span / np.float32(255)))
    return np.concatenate(parts, axis=1) if parts else x.astype(np.float64)


def quantised_columns(weight):
    """The int8 form of a weight: 127 steps to the largest magnitude of each row."""
    largest = np.abs(weight).max(axis=1, initial=0)
    elements = np.rint(weight * (np.float32(127) / np.where(largest == 0, 1, largest))[:, None])
    return elements.astype(np.float64) * (largest / np.float32(127))[:, None]


def expected(x, weight, bias=None, residual=None, *, gelu=False, compute_type):
    if compute_type == "int8":
        inner = (on_grids(x), quantised_columns(weight))
    else:
        inner = tuple(values(stored(a, compute_type)).astype(np.float64) for a in (x, weight))
    return reference.linear(*map(torch.from_numpy, inner), *exact(bias, residual), gelu=gelu)


def tolerance(x, weight, coarse=False):
    """A sum of k products in float32, rounding errors taken as independent, with a factor of 4 in hand."""
    return 1.5e-5 * coarse + 4 * EPS * (1 + np.sqrt(x.shape[1]) * np.abs(x).max(initial=0) * np.abs(weight).max() / 2)


def storages(target):
    return [name for name in _C.product_types(target) if not name.startswith("int")]


@pytest.mark.parametrize("n", WIDTHS)
def test_any_size(target, compute_type, rng, n):
    for rows, gelu in itertools.product((*ROWS, 15, 16, 17, 33), (False, True)):
        k = int(rng.choice(WIDTHS))
        x, weight, bias = normal(rng, rows, k), normal(rng, n, k), normal(rng, n)
        for kind in storages(target):
            residual, out = stored(normal(rng, rows, n), kind), space(kind, rows, n)
            kernels.linear(
                x, weight, bias, residual=residual, gelu=gelu, compute_type=compute_type, out=out, target=target
            )
            oracle = expected(x, weight, bias, residual, gelu=gelu, compute_type=compute_type)
            coarse = gelu and (compute_type, kind) != ("float32", "float32")
            assert_close(out, oracle, tolerance(x, weight, coarse))
            assert_untouched_around(out)


@pytest.mark.parametrize("k", [127, 128, 129, 255, 256, 257, 511, 513, 768, 1025, 3073])
def test_inputs_longer_than_a_block(target, compute_type, rng, k):
    x, weight, bias, residual = normal(rng, 9, k), normal(rng, 70, k), normal(rng, 70), normal(rng, 9, 70)
    out = np.empty((9, 70), np.float32)
    kernels.linear(x, weight, bias, residual=residual, gelu=True, compute_type=compute_type, out=out, target=target)
    oracle = expected(x, weight, bias, residual, gelu=True, compute_type=compute_type)
    assert_close(out, oracle, tolerance(x, weight, coarse=compute_type != "float32"))


def test_rows_that_stand_apart(target, compute_type, rng):
    """Nothing is read past k in a row: NaN follows it."""
    weight = normal(rng, 40, 35)
    for kind in storages(target):
        x = space(kind, 37, 35)
        x[:] = stored(normal(rng, 37, 35), kind)
        out = np.empty((37, 40), np.float32)
        kernels.linear(x, weight, compute_type=compute_type, out=out, target=target)
        assert_close(out, expected(values(x), weight, compute_type=compute_type), tolerance(values(x), weight))


def test_without_bias_and_residual(target, compute_type, rng):
    x, weight = normal(rng, 7, 20), normal(rng, 33, 20)
    got = kernels.linear(x, weight, compute_type=compute_type, target=target)
    assert got.dtype == (np.uint16 if compute_type == "bfloat16" else np.float32)
    assert_close(got, expected(x, weight, compute_type=compute_type), tolerance(x, weight))


def test_the_residual_may_be_the_result(target, compute_type, rng):
    x, weight = normal(rng, 35, 20), normal(rng, 70, 20)
    for kind in storages(target):
        residual = stored(normal(rng, 35, 70), kind)
        oracle = expected(x, weight, None, residual.copy(), compute_type=compute_type)
        kernels.linear(x, weight, residual=residual, compute_type=compute_type, out=residual, target=target)
        assert_close(residual, oracle, tolerance(x, weight))


def test_magnitudes_far_apart(target, compute_type, rng):
    """Rows of 1e4 beside rows of 1e-4, columns likewise: each keeps its own precision."""
    x = normal(rng, 40, 300) * np.float32(10.0) ** rng.integers(-4, 5, (40, 1)).astype(np.float32)
    weight = normal(rng, 70, 300) * np.float32(10.0) ** rng.integers(-4, 5, (70, 1)).astype(np.float32)
    x[3] = weight[5] = 0
    out = np.empty((40, 70), np.float32)
    kernels.linear(x, weight, compute_type=compute_type, out=out, target=target)
    scale = np.abs(x).max(1)[:, None] * np.abs(weight).max(1)
    error = np.abs(out - expected(x, weight, compute_type=compute_type).numpy())
    assert np.all(error <= 4 * EPS * np.sqrt(300) * scale)


def test_gelu_over_its_whole_range(target):
    x = np.concatenate([np.linspace(-12, 12, 40001), [-1e30, -1e4, 1e4, 1e30, 0.0, -0.0]]).astype(np.float32)[:, None]
    oracle = torch.nn.functional.gelu(torch.from_numpy(x).double())
    got = kernels.linear(x, np.ones((1, 1), np.float32), gelu=True, target=target)
    assert np.all(np.abs(got - oracle.numpy()) <= 1.2e-7 * np.maximum(1, np.abs(x)))
    if "bfloat16" in _C.compute_types(target):
        rounded = np.empty(x.shape, np.uint16)
        kernels.linear(x, np.ones((1, 1), np.float32), gelu=True, out=rounded, target=target)
        assert_close(rounded, oracle, 1.5e-5)


def test_int8_sums_are_exact(target, rng):
    """Rows of integers from 0 to 255 are their own int8 form: the product is that of the integers."""
    if "int8" not in _C.compute_types(target):
        pytest.skip("the target has no int8 product")
    for rows, n, k in ((1, 1, 1), (5, 70, 63), (33, 33, 768), (40, 65, 3075)):
        x, weight = rng.integers(0, 256, (rows, k)), rng.integers(-127, 128, (n, k))
        x[:, ::GRID], x[:, 1::GRID] = 255, 0
        weight[:, 0] = -127
        got = kernels.linear(x.astype(np.float32), weight.astype(np.float32), compute_type="int8", target=target)
        assert np.array_equal(got, (x @ weight.T).astype(np.float32))
    x, weight = np.full((2, 100_000), 127, np.float32), np.full((3, 100_000), 127, np.float32)
    x[:, ::GRID], x[:, 1::GRID] = 255, 0
    weight[1] = -127
    got = kernels.linear(x, weight, compute_type="int8", target=target)
    assert np.allclose(got, x.astype(np.float64) @ weight.T, rtol=1e-6, atol=0)  # 131 grids, added as float32


def test_a_result_on_grids(target, rng):
    """Within half a step of float64, at every shape of rows, panels and grids; GELU's error is its own."""
    if "int8" not in _C.compute_types(target):
        pytest.skip("the target has no int8")
    for rows, n, k in ((1, 3, 5), (19, 768, 70), (49, 769, 768), (203, 1700, 33)):
        for compute_type, gelu in (("int8", False), ("int8", True)):
            x, weight, bias, residual = normal(rng, rows, k), normal(rng, n, k), normal(rng, n), normal(rng, rows, n)
            linear = _C.Linear(weight, bias, compute_type=compute_type, target=target, num_threads=3)
            elements, grids = linear.to_int8(x, residual, gelu=gelu)
            low, step = (np.repeat(grids[:, :, i], GRID, axis=1)[:, :n] for i in (0, 1))
            oracle = expected(x, weight, bias, residual, gelu=gelu, compute_type=compute_type).numpy()
            rounded = 2.0**-8 * np.abs(oracle) + tolerance(x, weight) + 3e-4 * gelu
            assert np.all(np.abs(low + step * elements.astype(np.float64) - oracle) <= 0.51 * step + rounded)
            again = _C.Linear(weight, bias, compute_type=compute_type, target=target).to_int8(
                x[-1:], residual[-1:], gelu=gelu
            )
            assert np.array_equal(again[0], elements[-1:])
            assert np.array_equal(again[1], grids[-1:])
    for compute_type in ("float32", "int16"):
        with pytest.raises(ValueError, match="int8 rows from int8 products"):
            _C.Linear(normal(rng, 3, 5), compute_type=compute_type, target=target).to_int8(normal(rng, 7, 5))


def test_no_number_in_a_row_is_no_number_in_its_column(target, compute_type, rng):
    x, weight = normal(rng, 3, 70), normal(rng, 40, 70)
    weight[7, 69], weight[8, 0] = np.nan, np.inf
    got = values(kernels.linear(x, weight, compute_type=compute_type, target=target))
    assert not np.isfinite(got[:, 7:9]).any()
    assert np.isfinite(np.delete(got, [7, 8], axis=1)).all()


def test_gelu_keeps_what_is_no_number(target, compute_type, rng):
    weight, bias = normal(rng, 40, 70), normal(rng, 40)
    bias[[3, 39]] = np.nan
    got = values(kernels.linear(normal(rng, 3, 70), weight, bias, gelu=True, compute_type=compute_type, target=target))
    assert np.isnan(got[:, [3, 39]]).all()
    assert np.isfinite(np.delete(got, [3, 39], axis=1)).all()


def test_targets_agree_bit_by_bit_in_int8(rng):
    targets = [name for name in _C.available_targets() if "int8" in _C.compute_types(name)]
    for rows, n, k in ((1, 64, 768), (19, 130, 257), (70, 70, 511)):
        x, weight, bias, residual = normal(rng, rows, k), normal(rng, n, k), normal(rng, n), normal(rng, rows, n)
        first, *others = (
            kernels.linear(x, weight, bias, residual=residual, gelu=True, compute_type="int8", target=name)
            for name in targets
        )
        assert all(np.array_equal(first, other) for other in others)


def test_rows_do_not_depend_on_their_neighbours_or_on_threads(target, compute_type, rng):
    x, weight, bias = normal(rng, 203, 900), normal(rng, 130, 900), normal(rng, 130)

    def run(x, num_threads=1):
        return kernels.linear(
            x, weight, bias, gelu=True, compute_type=compute_type, target=target, num_threads=num_threads
        )

    whole = run(x)
    for threads in (2, 3, 9):
        assert np.array_equal(whole, run(x, threads))
    for begin, end in ((0, 1), (3, 10), (50, 203)):
        assert np.array_equal(whole[begin:end], run(x[begin:end]))


def test_a_packed_weight_serves_any_number_of_products(target, compute_type, rng):
    weight, bias = normal(rng, 70, 50), normal(rng, 70)
    packed = _C.Linear(weight, bias, compute_type=compute_type, target=target)
    for rows in (1, 40):
        x = normal(rng, rows, 50)
        assert np.array_equal(packed(x), kernels.linear(x, weight, bias, compute_type=compute_type, target=target))


def test_wrong_arguments_are_refused():
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match="linear: x"):
        kernels.linear(x, np.zeros((4, 5), np.float32))
    with pytest.raises(UnsupportedError, match=r"cpu float32.*, got cpu float64"):
        kernels.linear(x.astype(np.float64), x)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match="target=mmx: .*portable"):
        kernels.linear(x, x, target="mmx")
    with pytest.raises(UnsupportedError, match="int4"):
        kernels.linear(x, x, compute_type="int4")
    for compute_type in ("bfloat16", "int8"):
        with pytest.raises(UnsupportedError, match=f"portable has no {compute_type}"):
            kernels.linear(x, x, compute_type=compute_type, target="portable")
    half = np.zeros((2, 3), np.uint16)
    for arguments in ({"x": half}, {"residual": half[:, :2]}, {"out": half[:, :2]}):
        with pytest.raises(UnsupportedError, match="portable has no bfloat16"):
            kernels.linear(**{"x": x, "weight": x, "target": "portable", **arguments})

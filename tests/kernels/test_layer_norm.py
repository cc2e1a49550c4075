from __future__ import annotations

import itertools

import numpy as np
import pytest
from comparison import ROWS, WIDTHS, assert_close, assert_untouched_around, exact, normal, space, stored, values

from megaseg import _C, kernels
from megaseg.errors import UnsupportedError
from megaseg.kernels import reference


@pytest.mark.parametrize("size", WIDTHS)
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_any_size(target, storage, rng, size, offset):
    for rows, out_storage in itertools.product(ROWS, (storage, "float32")):
        gamma, beta = normal(rng, size), normal(rng, size)
        x = stored(normal(rng, rows, size) + np.float32(offset), storage)
        expected = reference.layer_norm(*exact(x, gamma, beta), eps=1e-3)
        # The mean is rounded to 2^-24 of the values; dividing by sigma makes that an absolute error of the result.
        sigma = np.sqrt(values(x).astype(np.float64).var(axis=1, keepdims=True) + 1e-3)
        tolerance = 3e-6 + 2e-7 * (1 + offset) / sigma * np.abs(gamma)
        out = space(out_storage, rows, size)
        assert kernels.layer_norm(x, gamma, beta, eps=1e-3, out=out, target=target) is out
        assert_close(out, expected, tolerance)
        assert_untouched_around(out)


def test_rows_of_a_wider_matrix_in_place(target, storage, rng):
    wide = stored(normal(rng, 5, 40), storage)
    gamma, beta = normal(rng, 33), normal(rng, 33)
    part = wide[:, 4:37]
    expected = reference.layer_norm(*exact(part.copy(), gamma, beta))
    before = wide.copy()
    kernels.layer_norm(part, gamma, beta, out=part, target=target)
    assert_close(part, expected, 1e-5)
    assert np.array_equal(wide[:, :4], before[:, :4])
    assert np.array_equal(wide[:, 37:], before[:, 37:])


def test_constant_rows(target):
    x, gamma, beta = np.full((3, 40), 7, np.float32), np.ones(40, np.float32), np.full(40, 0.5, np.float32)
    assert np.array_equal(kernels.layer_norm(x, gamma, beta, target=target), np.full((3, 40), 0.5, np.float32))


def test_nan_stays_nan(target, storage):
    x = stored(np.array([[1, np.nan, 2], [1, 2, 3]], np.float32), storage)
    ones = np.ones(3, np.float32)
    got = values(kernels.layer_norm(x, ones, ones, target=target))
    assert np.isnan(got).tolist() == [[True] * 3, [False] * 3]


def test_a_storage_that_the_target_lacks_is_refused(target):
    if "bfloat16" in _C.compute_types(target):
        pytest.skip("this target has every storage")
    ones = np.ones(3, np.float32)
    with pytest.raises(UnsupportedError, match=f"target {target} has no bfloat16, only float32"):
        kernels.layer_norm(np.zeros((2, 3), np.uint16), ones, ones, target=target)

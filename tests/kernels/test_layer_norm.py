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
        out = space(out_storage, rows, size)
        assert kernels.layer_norm(x, gamma, beta, eps=1e-3, out=out, target=target) is out
        assert_close(out, expected, 3e-6)  # an offset costs nothing: the mean is taken in two steps
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


@pytest.mark.parametrize("size", WIDTHS)
def test_a_constant_row_is_beta(target, rng, size):
    x = np.repeat(np.float32([[7], [3.3], [-1e5 / 3], [1e-3 / 7]]), size, axis=1)
    gamma, beta = normal(rng, size), normal(rng, size)
    got = kernels.layer_norm(x, gamma, beta, eps=1e-12, target=target)
    assert np.array_equal(got, np.repeat(beta[None], 4, axis=0))


def test_a_variance_beyond_float32_is_nan_and_no_beta(target, storage):
    x = stored(np.array([[1e20, -1e20, 0], [1e18, -1e18, 0], [1, 2, 3]], np.float32), storage)
    ones = np.ones(3, np.float32)
    got = values(kernels.layer_norm(x, ones, ones, target=target))
    assert np.isnan(got).tolist() == [[True] * 3, [False] * 3, [False] * 3]


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

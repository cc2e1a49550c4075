from __future__ import annotations

import numpy as np
import pytest
from comparison import ROWS, WIDTHS, assert_close, exact, normal

from megaseg import kernels
from megaseg.kernels import reference


@pytest.mark.parametrize("size", WIDTHS)
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_any_size(target, rng, size, offset):
    for rows in ROWS:
        x, gamma, beta = normal(rng, rows, size) + np.float32(offset), normal(rng, size), normal(rng, size)
        expected = reference.layer_norm(*exact(x, gamma, beta), eps=1e-3)
        # The mean is rounded to 2^-24 of the values; dividing by sigma makes that an absolute error of the result.
        sigma = np.sqrt(x.astype(np.float64).var(axis=1, keepdims=True) + 1e-3)
        tolerance = 3e-6 + 2e-7 * (1 + offset) / sigma * np.abs(gamma)
        assert_close(kernels.layer_norm(x, gamma, beta, eps=1e-3, target=target), expected, tolerance)


def test_constant_rows(target):
    x, gamma, beta = np.full((3, 40), 7, np.float32), np.ones(40, np.float32), np.full(40, 0.5, np.float32)
    assert np.array_equal(kernels.layer_norm(x, gamma, beta, target=target), np.full((3, 40), 0.5, np.float32))

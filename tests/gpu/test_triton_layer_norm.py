"""Residual and layer normalisation in one pass."""

from __future__ import annotations

import numpy as np
import pytest
from agreement import TYPES, assert_agrees, exact, normal

from megaseg.kernels import reference
from megaseg.kernels.triton.layer_norm import residual_layer_norm


@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
@pytest.mark.parametrize(("rows", "size"), [(1, 1), (3, 768), (70, 24), (5, 129)])
@pytest.mark.parametrize(("bias", "residual"), [(1, 1), (0, 1), (1, 0), (0, 0)])
def test_residual_layer_norm(dtype, rows, size, bias, residual, rng: np.random.Generator) -> None:
    x, r = normal(rng, rows, size + 4, dtype=dtype)[:, :size], normal(rng, rows, size + 2, dtype=dtype)[:, :size]
    b, gamma, beta = (normal(rng, size) for _ in range(3))
    values = exact(x, b, r)
    summed = values[0] + (values[1] if bias else 0) + (values[2] if residual else 0)
    got = residual_layer_norm(x, b if bias else None, r if residual else None, gamma, beta, 1e-3)
    assert_agrees(got, reference.layer_norm(summed, *exact(gamma, beta), 1e-3))

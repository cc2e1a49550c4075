"""Residual and layer normalisation in one pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from agreement import DEVICE, TYPES, assert_agrees, exact, normal

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


@pytest.mark.filterwarnings("ignore:(overflow|invalid value):RuntimeWarning")  # the interpreter computes in NumPy
def test_constant_rows_are_beta_and_a_variance_beyond_float32_is_nan() -> None:
    size = 129
    x = torch.tensor([3.3, 1e5 / 3, 0.0], device=DEVICE).repeat(size, 1).T.contiguous()
    x[2, :2] = torch.tensor([1e20, -1e20])
    ones = torch.ones(size, device=DEVICE)
    got = residual_layer_norm(x, None, None, ones, 2 * ones, 1e-5)
    assert torch.allclose(got[:2], torch.full_like(got[:2], 2), rtol=0, atol=1e-6)  # a GPU's mean is off by an ulp
    assert got[2].isnan().all()

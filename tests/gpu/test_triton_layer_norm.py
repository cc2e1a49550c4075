"""Residual and layer normalisation in one pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tensors import TYPES, assert_close, normal

from megaseg.kernels import reference
from megaseg.kernels.triton.layer_norm import residual_layer_norm


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("rows", "size"), [(1, 1), (3, 768), (70, 24), (5, 129)])
@pytest.mark.parametrize(("bias", "residual"), [(1, 1), (0, 1), (1, 0), (0, 0)])
def test_residual_layer_norm(dtype, rows, size, bias, residual, rng: np.random.Generator) -> None:
    x = normal(rng, dtype, rows, size, padding=4)
    r = normal(rng, dtype, rows, size, padding=2) if residual else None
    b, gamma, beta = (normal(rng, torch.float32, size) for _ in range(3))
    summed = x.double() + (b.double() if bias else 0) + (r.double() if residual else 0)
    got = residual_layer_norm(x, b if bias else None, r, gamma, beta, 1e-3)
    assert_close(got, reference.layer_norm(summed, gamma.double(), beta.double(), 1e-3))

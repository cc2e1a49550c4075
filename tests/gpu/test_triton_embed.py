"""Tokens before the first layer, and their 1 / sigma."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tensors import TYPES, assert_close, normal

from megaseg.kernels import reference
from megaseg.kernels.triton.embed import embed


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("batch", "each", "latents", "size"), [(1, 1, 1, 1), (3, 2, 51, 24), (2, 7, 9, 768)])
def test_embed(dtype, batch, each, latents, size, rng: np.random.Generator) -> None:
    shots, length = 11, 5
    x = normal(rng, dtype, shots, size, padding=3)
    row, place, slot = (
        torch.from_numpy(rng.integers(0, most, latents, dtype=np.int32)) for most in (shots, length, each)
    )
    position, align, bottleneck = (normal(rng, torch.float32, n, size) for n in (length, each, each))
    gamma, beta = normal(rng, torch.float32, size), normal(rng, torch.float32, size)
    tokens, inverse_sigma = embed(x, row, place, slot, position, align, gamma, beta, bottleneck, batch, 1e-5)
    exact = [t.double() for t in (position, align, gamma, beta)]
    expected = reference.embed(x.double(), row, place, slot, *exact)
    assert_close(tokens, torch.cat([bottleneck.double().repeat(batch, 1), expected]))
    rows = x.double()[row] + position.double()[place] + align.double()[slot]
    assert_close(inverse_sigma, (rows.var(dim=1, correction=0) + 1e-5).rsqrt())

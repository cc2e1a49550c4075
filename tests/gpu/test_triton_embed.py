"""Tokens before the first layer, and their 1 / sigma."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from agreement import DEVICE, TYPES, assert_agrees, exact, normal

from megaseg.kernels import reference
from megaseg.kernels.triton.embed import embed


@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
@pytest.mark.parametrize(("batch", "each", "latents", "size"), [(1, 1, 1, 1), (3, 2, 51, 24), (2, 7, 9, 768)])
def test_embed(dtype, batch, each, latents, size, rng: np.random.Generator) -> None:
    shots, length = 11, 5
    x = normal(rng, shots, size + 3, dtype=dtype)[:, :size]
    row, place, slot = (
        torch.from_numpy(rng.integers(0, most, latents, dtype=np.int32)).to(DEVICE) for most in (shots, length, each)
    )
    position, align, bottleneck, gamma, beta = (normal(rng, *n, size) for n in ((length,), (each,), (each,), (), ()))
    tokens, inverse_std = embed(x, row, place, slot, position, align, gamma, beta, bottleneck, batch, 1e-5)
    x, row, place, slot, position, align, gamma, beta, own = exact(
        x, row, place, slot, position, align, gamma, beta, bottleneck
    )
    expected = reference.embed(x, row, place, slot, position, align, gamma, beta)
    assert_agrees(tokens, torch.cat([own.repeat(batch, 1), expected]))
    rows = x[row] + position[place] + align[slot]
    assert_agrees(inverse_std, (rows.var(dim=1, correction=0) + 1e-5).rsqrt())

from __future__ import annotations

import numpy as np
import pytest
import torch
from comparison import assert_close, exact, normal

from megaseg import kernels
from megaseg.kernels import reference


@pytest.mark.parametrize("head_size", [1, 5, 16, 17, 64, 96])
@pytest.mark.parametrize("length", [1, 5, 17, 33])
def test_any_size(target, rng, head_size, length):
    for shots in (1, 3, 30):
        heads, tokens = int(rng.integers(1, 4)), int(rng.integers(1, 5))
        first = int(rng.integers(0, shots))
        windows = int(rng.integers(1, shots - first + 1))
        wide = 3 * heads * head_size
        tables = normal(rng, shots, wide), normal(rng, length, wide), normal(rng, wide), normal(rng, tokens, wide)
        inverse_sigma = rng.uniform(0.5, 2, (windows, length)).astype(np.float32)
        expected = reference.window_attention(*exact(*tables, inverse_sigma), heads=heads, first=first)
        got = kernels.window_attention(*tables, inverse_sigma, heads=heads, first=first, target=target, num_threads=2)
        assert_close(got, expected, 2e-5)


def test_the_tables_stand_for_layer_norm_and_projection(rng):
    """The identity behind the pass, in float64: W LN(x_i + p_j) + b = (A_i + B_j) / sigma_ij + c."""
    size, heads, shots, length, eps = 12, 2, 6, 5, 1e-5
    x, p, align, gamma, beta = exact(
        normal(rng, shots, size), normal(rng, length, size), normal(rng, 2, size), normal(rng, size), normal(rng, size)
    )
    weight, bias, tokens = exact(normal(rng, 3 * size, size), normal(rng, 3 * size), normal(rng, 2, size))
    latents = reference.embed(x, p, align, gamma, beta, windows=shots, eps=eps)
    rows = torch.cat([tokens.repeat(shots, 1), latents.flatten(0, 1)]) @ weight.T + bias
    expected = reference.bottleneck_attention(*rows.chunk(3, dim=1), batch=shots, heads=heads, bottlenecks=2)

    def table(rows: torch.Tensor) -> torch.Tensor:
        return (gamma * (rows - rows.mean(1, keepdim=True))) @ weight.T

    slots = align[torch.arange(length) * 2 // length]
    seen = x[(torch.arange(shots)[:, None] + torch.arange(length) - length // 2).clamp(0, shots - 1)] + p + slots
    inverse_sigma = (seen.var(-1, correction=0) + eps).rsqrt()
    got = reference.window_attention(
        table(x), table(p + slots), weight @ beta + bias, tokens @ weight.T + bias, inverse_sigma, heads
    )
    assert torch.allclose(got, expected, rtol=0, atol=1e-12)

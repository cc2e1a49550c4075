from __future__ import annotations

import numpy as np
import pytest
import torch
from comparison import assert_close, assert_untouched_around, exact, normal, space

from megaseg import kernels
from megaseg.kernels import reference


@pytest.mark.parametrize("head_size", [1, 5, 16, 17, 64, 96])
@pytest.mark.parametrize("length", [1, 5, 17, 33])
def test_any_size(target, storage, rng, head_size, length):
    for shots in (1, 3, 30):
        heads, tokens = int(rng.integers(1, 4)), int(rng.integers(0, 5))
        windows = int(rng.integers(1, 20))
        wide = 3 * heads * head_size
        row = rng.integers(0, shots, (windows, length), dtype=np.int32)
        inverse_std = rng.uniform(0.5, 2, (windows, length)).astype(np.float32)
        tables = normal(rng, length, wide), normal(rng, wide), normal(rng, tokens, wide)
        arrays = (normal(rng, shots, wide), row, *tables, inverse_std)
        out = space(storage, windows * (tokens + length), heads * head_size)
        kernels.window_attention(*arrays, heads=heads, out=out, target=target, num_threads=2)
        rounded = storage == "bfloat16"
        expected = reference.window_attention(*exact(*arrays), heads=heads, rounded=rounded)
        assert_close(out, expected, 6e-2 if rounded else 2e-5)
        assert_untouched_around(out)


def test_the_tables_stand_for_layer_norm_and_projection(rng):
    """The identity behind the pass, in float64: W LN(x_i + p_j) + b = (A_i + B_j) / sigma_ij + c."""
    size, heads, shots, length, eps = 12, 2, 6, 5, 1e-5
    x, p, align, gamma, beta = exact(
        normal(rng, shots, size), normal(rng, length, size), normal(rng, 2, size), normal(rng, size), normal(rng, size)
    )
    weight, bias, tokens = exact(normal(rng, 3 * size, size), normal(rng, 3 * size), normal(rng, 2, size))
    row = (torch.arange(shots)[:, None] + torch.arange(length) - length // 2).clamp(0, shots - 1)
    place = torch.arange(length).repeat(shots)
    latents = reference.embed(x, row.flatten(), place, place * 2 // length, p, align, gamma, beta, eps=eps)
    rows = torch.cat([tokens.repeat(shots, 1), latents]) @ weight.T + bias
    begin = torch.arange(shots + 1) * length
    expected = reference.bottleneck_attention(*rows.chunk(3, dim=1), begin, heads=heads, bottlenecks=2)

    def table(rows: torch.Tensor) -> torch.Tensor:
        return (gamma * (rows - rows.mean(1, keepdim=True))) @ weight.T

    slots = align[torch.arange(length) * 2 // length]
    inverse_std = ((x[row] + p + slots).var(-1, correction=0) + eps).rsqrt()
    got = reference.window_attention(
        table(x), row, table(p + slots), weight @ beta + bias, tokens @ weight.T + bias, inverse_std, heads
    )
    assert torch.allclose(got, expected, rtol=0, atol=1e-12)


def test_rows_out_of_range_are_refused():
    shot, sigma = np.zeros((3, 6), np.float32), np.ones((2, 4), np.float32)
    tables = np.zeros((4, 6), np.float32), np.zeros(6, np.float32), np.zeros((1, 6), np.float32)
    for row in (np.full((2, 4), 3, np.int32), np.full((2, 4), -1, np.int32), np.zeros((2, 3), np.int32)):
        with pytest.raises(ValueError, match="window_attention: a row of shot"):
            kernels.window_attention(shot, row, *tables, sigma, heads=1)

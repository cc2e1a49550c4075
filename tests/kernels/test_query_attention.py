from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from comparison import ROWS, WIDTHS, assert_close, exact, normal, stored

from megaseg import kernels
from megaseg.kernels import reference


@pytest.mark.parametrize("size", WIDTHS)
def test_any_size(target, storage, rng, size):
    for windows, out_storage in itertools.product(ROWS, (storage, "float32")):
        heads, bottlenecks = int(rng.integers(1, 10)), int(rng.integers(0, 8))
        latents = int(rng.choice([1, 9, 16, 17, 40]))
        query = normal(rng, windows, heads, size)
        tokens = [stored(normal(rng, windows, count, size), storage) for count in (bottlenecks, latents)]
        scale = 1 / np.sqrt(size)
        out = stored(np.empty((windows, heads, size), np.float32), out_storage)
        kernels.query_attention(query, *tokens, scale=scale, out=out, target=target)
        assert_close(out, reference.query_attention(*exact(query, *tokens), scale=scale), 3e-6)


def test_folding_is_exact(rng):
    """The identity behind the pass, in float64: keys and values need never be formed."""
    size, heads = 12, 3
    x, weight, bias = exact(normal(rng, 7, size), normal(rng, 3 * size, size), normal(rng, 3 * size))
    q, k, v = (x @ weight.T + bias).chunk(3, dim=1)
    expected = reference.bottleneck_attention(q, k, v, torch.tensor([0, 7]), heads=heads, bottlenecks=0)[3]
    _, w_k, w_v = (part.reshape(heads, size // heads, size) for part in weight.chunk(3))
    query = torch.einsum("hd,hdc->hc", q[3].reshape(heads, -1), w_k)[None]
    sums = reference.query_attention(query, x[None, :0], x[None], scale=(size // heads) ** -0.5)[0]
    got = torch.einsum("hdc,hc->hd", w_v, sums).flatten() + bias[2 * size :]
    assert torch.allclose(got, expected, rtol=0, atol=1e-12)

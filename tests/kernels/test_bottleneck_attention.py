from __future__ import annotations

import numpy as np
import pytest
from comparison import assert_close, exact, normal

from megaseg import kernels
from megaseg.kernels import reference

HEAD_SIZES = (1, 5, 8, 15, 16, 17, 32, 48, 64, 96, 128, 130)


@pytest.mark.parametrize("head_size", HEAD_SIZES)
@pytest.mark.parametrize("latent_queries", [False, True])
def test_any_size(target, rng, head_size, latent_queries):
    for latents in (1, 2, 15, 16, 17, 23, 63, 65):
        batch, heads, bottlenecks = (int(v) for v in rng.integers(1, 4, 3))
        size = heads * head_size
        k, v = (normal(rng, batch * (bottlenecks + latents), size) for _ in range(2))
        q = normal(rng, batch * (latents if latent_queries else bottlenecks + latents), size)
        options = {"batch": batch, "heads": heads, "bottlenecks": bottlenecks, "latent_queries": latent_queries}
        expected = reference.bottleneck_attention(*exact(q, k, v), **options)
        assert_close(kernels.bottleneck_attention(q, k, v, **options, target=target), expected, 3e-6)


@pytest.mark.parametrize("latents", [127, 128, 129, 500, 1031])
def test_key_sets_longer_than_a_block(target, rng, latents):
    q, k, v = (normal(rng, 10 + latents, 64) for _ in range(3))
    expected = reference.bottleneck_attention(*exact(q, k, v), batch=1, heads=2, bottlenecks=10)
    got = kernels.bottleneck_attention(q, k, v, batch=1, heads=2, bottlenecks=10, target=target)
    assert_close(got, expected, 3e-6)
    for threads in (2, 3):
        again = kernels.bottleneck_attention(
            q, k, v, batch=1, heads=2, bottlenecks=10, target=target, num_threads=threads
        )
        assert np.array_equal(got, again)


@pytest.mark.parametrize("factor", [30.0, 1000.0])
@pytest.mark.parametrize("rising", [False, True])
def test_scores_far_apart(target, rng, factor, rising):
    """The running maximum: rising scores move it in every block, and huge ones must not overflow."""
    q, k, v = (normal(rng, 300, 16) for _ in range(3))
    if rising:
        q[:] = np.abs(q)
        k[:] = np.linspace(-1, 1, 300, dtype=np.float32)[:, None]
    q *= np.float32(factor)
    expected = reference.bottleneck_attention(*exact(q, k, v), batch=1, heads=1, bottlenecks=0)
    got = kernels.bottleneck_attention(q, k, v, batch=1, heads=1, bottlenecks=0, target=target)
    # A score of size s is rounded to s * 2^-24: the weights inherit that as a relative error.
    assert_close(got, expected, 1e-6 * factor)


def test_one_key_gives_its_value(target, rng):
    q, k, v = (normal(rng, 1, 40) for _ in range(3))
    got = kernels.bottleneck_attention(q, k, v, batch=1, heads=5, bottlenecks=0, target=target)
    assert np.allclose(got, v, rtol=1e-6)


def test_wrong_shapes_are_refused():
    x = np.zeros((6, 8), np.float32)
    with pytest.raises(ValueError, match="tokens"):
        kernels.bottleneck_attention(x, x, x, batch=2, heads=2, bottlenecks=4)
    with pytest.raises(ValueError, match="heads"):
        kernels.bottleneck_attention(x, x, x, batch=2, heads=3, bottlenecks=1)

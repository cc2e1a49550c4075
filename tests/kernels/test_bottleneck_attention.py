from __future__ import annotations

import numpy as np
import pytest
from comparison import assert_close, assert_untouched_around, exact, normal, space, stored, values

from megaseg import kernels
from megaseg.kernels import reference

HEAD_SIZES = (1, 5, 8, 15, 16, 17, 32, 48, 64, 96, 128, 130)
# Beside storing the result: weights rounded to bfloat16 in the product, half its distance relative to values near 1.
TOLERANCE = {"float32": 3e-6, "bfloat16": 2e-2}


def begins(*lengths: int) -> np.ndarray:
    return np.cumsum([0, *lengths], dtype=np.int32)


@pytest.mark.parametrize("head_size", HEAD_SIZES)
@pytest.mark.parametrize("latent_queries", [False, True])
def test_any_size(target, storage, rng, head_size, latent_queries):
    for latents in (1, 2, 15, 16, 17, 23, 31, 63, 65):
        batch, heads, bottlenecks = (int(v) for v in rng.integers(1, 4, 3))
        size = heads * head_size
        k, v = (stored(normal(rng, batch * (bottlenecks + latents), size), storage) for _ in range(2))
        q = stored(normal(rng, batch * (latents if latent_queries else bottlenecks + latents), size), storage)
        options = {"heads": heads, "bottlenecks": bottlenecks, "latent_queries": latent_queries}
        begin = begins(*[latents] * batch)
        out = space(storage, *q.shape)
        kernels.bottleneck_attention(q, k, v, begin, **options, out=out, target=target)
        expected = reference.bottleneck_attention(*exact(q, k, v, begin), **options)
        assert_close(out, expected, TOLERANCE[storage])
        assert_untouched_around(out)


@pytest.mark.parametrize("lengths", [(3, 0, 19, 1), (17,) * 40, (130, 5, 600, 0, 97), (1, 700), (96, 97)])
@pytest.mark.parametrize("bottlenecks", [1, 6])
def test_mixed_lengths(target, storage, rng, lengths, bottlenecks):
    heads, batch = 2, len(lengths)
    options = {"heads": heads, "bottlenecks": bottlenecks}
    # Slices of one matrix of queries, keys and values, as a product leaves them.
    qkv = stored(normal(rng, batch * bottlenecks + sum(lengths), 3 * heads * 24), storage)
    q, k, v = qkv[:, :48], qkv[:, 48:96], qkv[:, 96:]
    expected = reference.bottleneck_attention(*exact(q, k, v, begins(*lengths)), **options)
    got = [
        kernels.bottleneck_attention(q, k, v, begins(*lengths), **options, target=target, num_threads=threads)
        for threads in (1, 2, 3)
    ]
    assert_close(got[0], expected, TOLERANCE[storage])
    assert np.array_equal(got[0], got[1])
    assert np.array_equal(got[0], got[2])


@pytest.mark.parametrize("queries", [(1, 1, 1), (0, 2, 130), (200, 0, 3)])
@pytest.mark.parametrize("lengths", [(7, 300, 40), (7, 7, 7)])
def test_other_numbers_of_queries_than_keys(target, storage, rng, lengths, queries):
    k, v = (stored(normal(rng, 6 + sum(lengths), 34), storage) for _ in range(2))
    q = stored(normal(rng, sum(queries), 34), storage)
    arrays = (q, k, v, begins(*lengths))
    options = {"heads": 2, "bottlenecks": 2, "latent_queries": True}
    expected = reference.bottleneck_attention(*exact(*arrays), **options, query_begin=exact(begins(*queries))[0])
    got = kernels.bottleneck_attention(*arrays, **options, query_begin=begins(*queries), target=target)
    assert_close(got, expected, TOLERANCE[storage])


def test_the_result_may_replace_the_queries(target, storage, rng):
    q, k, v = (stored(normal(rng, 203, 64), storage) for _ in range(3))
    options = {"heads": 2, "bottlenecks": 3, "target": target}
    expected = kernels.bottleneck_attention(q, k, v, begins(200), **options)
    got = kernels.bottleneck_attention(q, k, v, begins(200), **options, out=q)
    assert got is q
    assert np.array_equal(got, expected)


@pytest.mark.parametrize("latents", [127, 128, 129, 500, 1031])
def test_key_sets_longer_than_a_block(target, storage, rng, latents):
    q, k, v = (stored(normal(rng, 10 + latents, 64), storage) for _ in range(3))
    expected = reference.bottleneck_attention(*exact(q, k, v, begins(latents)), heads=2, bottlenecks=10)
    got = kernels.bottleneck_attention(q, k, v, begins(latents), heads=2, bottlenecks=10, target=target)
    assert_close(got, expected, TOLERANCE[storage])


@pytest.mark.parametrize("factor", [30.0, 1000.0])
@pytest.mark.parametrize("rising", [False, True])
def test_scores_far_apart(target, storage, rng, factor, rising):
    """The running maximum: rising scores move it in every block, and huge ones must not overflow."""
    q, k, v = (normal(rng, 300, 16) for _ in range(3))
    if rising:
        q[:] = np.abs(q)
        k[:] = np.linspace(-1, 1, 300, dtype=np.float32)[:, None]
    q *= np.float32(factor)
    q, k, v = (stored(x, storage) for x in (q, k, v))
    expected = reference.bottleneck_attention(*exact(q, k, v, begins(300)), heads=1, bottlenecks=0)
    got = kernels.bottleneck_attention(q, k, v, begins(300), heads=1, bottlenecks=0, target=target)
    # Scores reach 5 * factor, sums of 16 products, each rounded by up to 5 * factor * 2^-24 = 3e-7 * factor: the
    # weights inherit the sum of several as a relative error.
    assert_close(got, expected, TOLERANCE[storage] + 2e-6 * factor)


def test_one_key_gives_its_value(target, storage, rng):
    q, k, v = (stored(normal(rng, 1, 40), storage) for _ in range(3))
    got = kernels.bottleneck_attention(q, k, v, begins(1), heads=5, bottlenecks=0, target=target)
    assert np.allclose(values(got), values(v), rtol=1e-6 if storage == "float32" else 2.0**-8)


def test_nan_stays_in_its_sequence(target, storage, rng):
    q, k, v = (normal(rng, 40, 16) for _ in range(3))
    v[3, 2] = np.nan
    q, k, v = (stored(x, storage) for x in (q, k, v))
    got = values(kernels.bottleneck_attention(q, k, v, begins(20, 20), heads=1, bottlenecks=0, target=target))
    assert np.isnan(got[:20, 2]).all()
    assert np.isfinite(got[20:]).all()


def test_wrong_shapes_are_refused():
    x = np.zeros((6, 8), np.float32)
    for begin in (begins(4), begins(2, 5), np.array([0, 3, 1, 6], np.int32), np.array([1, 6], np.int32)):
        with pytest.raises(ValueError, match="begin"):
            kernels.bottleneck_attention(x, x, x, begin, heads=2, bottlenecks=0)
    with pytest.raises(ValueError, match="without tokens"):
        kernels.bottleneck_attention(x, x, x, begins(6, 0), heads=2, bottlenecks=0)
    with pytest.raises(ValueError, match="heads"):
        kernels.bottleneck_attention(x, x, x, begins(6), heads=3, bottlenecks=0)
    with pytest.raises(ValueError, match="one type"):
        kernels.bottleneck_attention(x, x, x.view(np.uint16)[:, :8], begins(6), heads=2, bottlenecks=0)

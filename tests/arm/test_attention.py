"""The three kinds of attention of every target that a processor has, against float64."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import SIZES, STORED, Array, assert_close, attention, normal, softmax, stored, values

from megaseg import _C

# Beside storing a result: bfloat16 rounds weights in the product; int8 rounds a value to its channel's largest / 127.
TOLERANCE = {"float32": 3e-6, "bfloat16": 2e-2, "int8": 6e-2}
HEADS = (1, 5, 17, 33, 66)
OF_PRODUCTS = [(t, storage, kind) for t, storage in STORED for kind in dict.fromkeys((storage, "int8"))]
OF_PRODUCTS = [(t, storage, kind) for t, storage, kind in OF_PRODUCTS if kind in _C.product_types(t)]
by_product = pytest.mark.parametrize(("target", "storage", "kind"), OF_PRODUCTS)
by_storage = pytest.mark.parametrize(("target", "storage"), STORED)


def begins(*lengths: int) -> Array:
    return np.cumsum([0, *lengths], dtype=np.int32)


@by_product
@pytest.mark.parametrize("head_size", HEADS)
def test_bottleneck_attention(target: str, storage: str, kind: str, head_size: int) -> None:
    """Two movies, of which prefix tokens come first; more keys than a block of int8, fewer queries or as many."""
    rng = np.random.default_rng(head_size)
    for heads, prefix, lengths in ((3, 1, (1, 2)), (2, 0, (19, 67)), (1, 3, (530, 5)), (1, 1, (131, 0))):
        batch, queries = len(lengths), begins(*(min(length, 23) for length in lengths))
        k, v = (stored(normal(rng, batch * prefix + sum(lengths), heads * head_size), storage) for _ in range(2))
        q = stored(normal(rng, queries[-1], heads * head_size), storage)
        begin, options = begins(*lengths), {"heads": heads, "bottlenecks": prefix, "compute_type": kind}
        got = _C.bottleneck_attention(
            q, k, v, begin, **options, query_begin=queries, latent_queries=True, target=target, num_threads=2
        )
        for b in range(batch):
            rows = np.r_[b * prefix : (b + 1) * prefix, batch * prefix + begin[b] : batch * prefix + begin[b + 1]]
            own = slice(queries[b], queries[b + 1])
            assert_close(got[own], attention(*map(values, (q[own], k[rows], v[rows])), heads), TOLERANCE[kind])


@by_product
def test_every_token_is_a_query(target: str, storage: str, kind: str) -> None:
    rng = np.random.default_rng(2)
    q, k, v = (stored(normal(rng, 71, 48), storage) for _ in range(3))
    options = {"heads": 3, "bottlenecks": 2, "compute_type": kind, "target": target}
    got = _C.bottleneck_attention(q, k, v, begins(69), **options)
    assert_close(got, attention(*map(values, (q, k, v)), 3), TOLERANCE[kind])
    assert np.array_equal(_C.bottleneck_attention(q, k, v, begins(69), **options, out=q), got)


@by_product
@pytest.mark.parametrize("keys", [300, 700])
@pytest.mark.parametrize("factor", [1.0, 30.0, 1e5])
def test_scores_far_apart(target: str, storage: str, kind: str, factor: float, keys: int) -> None:
    """From the lowest score to the highest in one block and over two; with large factors the last keys have it all."""
    rising = np.repeat(np.linspace(-1, 1, keys, dtype=np.float32)[:, None], 16, axis=1)
    q = np.abs(normal(np.random.default_rng(4), 9, 16)) * np.float32(factor) + np.float32(300 * (factor > 1))
    q, k = stored(q, storage), stored(rising, storage)
    options = {"query_begin": begins(9), "latent_queries": True, "compute_type": kind, "target": target}
    got = _C.bottleneck_attention(q, k, k, begins(keys), heads=1, bottlenecks=0, **options)
    assert_close(got, attention(*map(values, (q, k, k)), 1), TOLERANCE[kind])


@by_product
def test_only_keys_that_exist_weigh(target: str, storage: str, kind: str) -> None:
    """Scores near each other, of one key to 17: panels are never full of them."""
    rng, lengths = np.random.default_rng(5), range(1, 18)
    q, k, v = (stored(normal(rng, sum(lengths), 16), storage) for _ in range(3))
    begin, options = begins(*lengths), {"heads": 16, "bottlenecks": 0, "compute_type": kind, "target": target}
    got = _C.bottleneck_attention(q, k, v, begin, **options)
    for own in map(slice, begin, begin[1:]):
        assert_close(got[own], attention(*map(values, (q[own], k[own], v[own])), 16), TOLERANCE[kind])


@by_product
def test_a_key_of_all_weight_gives_its_value(target: str, storage: str, kind: str) -> None:
    """In int8 the nearest of its channel's 127 steps from the mean."""
    v = stored(normal(np.random.default_rng(7), 24, 24), storage)
    q, options = stored(60 * np.eye(24, dtype=np.float32), storage), {"heads": 1, "bottlenecks": 0, "target": target}
    got, exact = values(_C.bottleneck_attention(q, q, v, begins(24), **options, compute_type=kind)), values(v)
    step = np.abs(exact - exact.mean(axis=0)).max(axis=0) / 127 if kind == "int8" else 6e-6
    assert (np.abs(got - exact) <= 0.501 * step + (2.0**-8 * np.abs(exact) if storage == "bfloat16" else 0)).all()


@by_product
def test_one_key_gives_its_value_and_nan_stays(target: str, storage: str, kind: str) -> None:
    rng = np.random.default_rng(6)
    q, k, v = (stored(normal(rng, 1, 40), storage) for _ in range(3))
    options = {"bottlenecks": 0, "compute_type": kind, "target": target}
    got = _C.bottleneck_attention(q, k, v, begins(1), heads=5, **options)
    assert_close(got, values(v), 1e-6)
    x = normal(rng, 40, 16)
    x[3, 2] = np.nan
    x = stored(x, storage)
    for part in range(3) if kind == "int8" else (2,):
        qkv = [x if part == i else stored(normal(rng, 40, 16), storage) for i in range(3)]
        got = values(_C.bottleneck_attention(*qkv, begins(20, 20), heads=1, **options))
        assert np.isnan(got[3, 2]), part
        assert np.isfinite(got[20:]).all(), part


@by_storage
@pytest.mark.parametrize("head_size", HEADS)
def test_window_attention(target: str, storage: str, head_size: int) -> None:
    rng = np.random.default_rng(head_size)
    for heads, prefix, windows, length in ((1, 0, 3, 1), (2, 3, 7, 17), (1, 1, 2, 33)):
        wide = 3 * heads * head_size
        row = rng.integers(0, 9, (windows, length), dtype=np.int32)
        inverse_std = rng.uniform(0.5, 2, (windows, length)).astype(np.float32)
        shot, position, shift, tokens = (
            normal(rng, *shape) for shape in ((9, wide), (length, wide), (wide,), (prefix, wide))
        )
        out = stored(np.empty((windows * (prefix + length), wide // 3), np.float32), storage)
        _C.window_attention(
            shot, row, position, shift, tokens, inverse_std, heads=heads, out=out, target=target, num_threads=2
        )
        latents = (shot.astype(np.float64)[row] + position) * inverse_std[..., None] + shift
        for window in range(windows):
            rows = np.concatenate([tokens, latents[window]])
            rows = values(stored(rows.astype(np.float32), storage)) if storage == "bfloat16" else rows
            latent_rows = windows * prefix + window * length + np.arange(length)
            own = np.r_[window * prefix : (window + 1) * prefix, latent_rows]
            expected = attention(*np.split(rows, 3, axis=1), heads)
            assert_close(out[own], expected, 6e-2 if storage == "bfloat16" else 2e-5)


@by_storage
@pytest.mark.parametrize("size", SIZES)
def test_query_attention(target: str, storage: str, size: int) -> None:
    rng = np.random.default_rng(size)
    for windows, heads, prefix, latents in ((1, 1, 0, 1), (7, 9, 3, 17), (2, 4, 7, 40)):
        query = normal(rng, windows, heads, size)
        tokens = [stored(normal(rng, windows, count, size), storage) for count in (prefix, latents)]
        got = _C.query_attention(query, *tokens, scale=size**-0.5, target=target)
        rows = np.concatenate([values(part) for part in tokens], axis=1)
        expected = softmax(query @ rows.transpose(0, 2, 1) / np.sqrt(size)) @ rows
        assert_close(got, expected, 3e-6)

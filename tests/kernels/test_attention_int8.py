"""Attention whose products are int8, against the oracle in float64 on what is stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from comparison import Array, exact, normal, space, stored, values

from megaseg import _C
from megaseg.kernels import reference

PRODUCT = "int8"
# A value is rounded to its channel's largest / 127, about 0.03 of values near 1; scores by as much of theirs.
TOLERANCE = 0.06


def begins(*lengths: int) -> Array:
    return np.cumsum([0, *lengths], dtype=np.int32)


def attend(q: Array, k: Array, v: Array, begin: Array, **options: Any) -> Array:
    return _C.bottleneck_attention(q, k, v, begin, compute_type="int8", **options)


def expected(q: Array, k: Array, v: Array, begin: Array, **options: Any) -> torch.Tensor:
    return reference.bottleneck_attention(*exact(q, k, v, begin), **options)


def assert_near(got: Array, wanted: torch.Tensor, tolerance: float = TOLERANCE) -> None:
    assert np.abs(values(got) - wanted.numpy()).max() <= tolerance


@pytest.mark.parametrize("head_size", [1, 5, 16, 17, 32, 48, 64, 96, 130])
def test_any_size(target: str, storage: str, rng: np.random.Generator, head_size: int) -> None:
    for latents in (1, 2, 15, 31, 63, 65, 130):
        batch, heads, bottlenecks = (int(v) for v in rng.integers(1, 4, 3))
        size = heads * head_size
        q, k, v = (stored(normal(rng, batch * (bottlenecks + latents), size), storage) for _ in range(3))
        options: dict[str, Any] = {"heads": heads, "bottlenecks": bottlenecks}
        begin = begins(*[latents] * batch)
        out = space(storage, *q.shape)
        attend(q, k, v, begin, **options, out=out, target=target)
        assert_near(out, expected(q, k, v, begin, **options))
        assert np.isnan(values(out.base)[:, size:]).all()


@pytest.mark.parametrize("lengths", [(3, 0, 19, 1), (130, 5, 600, 0, 97), (1, 511, 512, 513), (1100, 2)])
def test_blocks_threads_and_shared_parts(
    target: str, storage: str, rng: np.random.Generator, lengths: tuple[int, ...]
) -> None:
    """Keys and values with means far from zero; equal bits whatever the threads and the company."""
    options: dict[str, Any] = {"heads": 2, "bottlenecks": 3}
    qkv = stored(normal(rng, 3 * len(lengths) + sum(lengths), 3 * 64) + np.float32(2), storage)
    q, k, v = qkv[:, :64], qkv[:, 64:128], qkv[:, 128:]
    got = [attend(q, k, v, begins(*lengths), **options, target=target, num_threads=n) for n in (1, 2, 3)]
    assert_near(got[0], expected(q, k, v, begins(*lengths), **options))
    assert np.array_equal(got[0], got[1])
    assert np.array_equal(got[0], got[2])
    last = lengths[-1]
    rows = np.r_[3 * len(lengths) - 3 : 3 * len(lengths), len(qkv) - last : len(qkv)]
    alone = attend(q[rows], k[rows], v[rows], begins(last), **options, target=target)
    assert np.array_equal(alone, got[0][rows])


def test_the_error_is_noise(target: str, storage: str, rng: np.random.Generator) -> None:
    """Over many keys errors average out: a small share of what the result varies by."""
    q, k, v = (stored(normal(rng, 1500, 32), storage) for _ in range(3))
    options: dict[str, Any] = {"heads": 1, "bottlenecks": 0}
    wanted = expected(q, k, v, begins(1500), **options).numpy()
    error = values(attend(q, k, v, begins(1500), **options, target=target)) - wanted
    assert np.sqrt((error**2).mean()) < 0.03 * wanted.std()


@pytest.mark.parametrize("factor", [30.0, 1000.0, 1e5, 1e-3])
@pytest.mark.parametrize("rising", [False, True])
def test_scores_far_apart_or_all_alike(
    target: str, storage: str, rng: np.random.Generator, factor: float, rising: bool
) -> None:
    """Where one key takes all, and later blocks hold higher ones, the result is a value of one that scores highest."""
    q, k, v = (normal(rng, 1300, 16) for _ in range(3))
    if rising:
        q[:] = np.abs(q)
        k[:] = np.linspace(-1, 1, 1300, dtype=np.float32)[:, None]
    q, k, v = (stored(x, storage) for x in (q * np.float32(factor), k, v))
    got = values(attend(q, k, v, begins(1300), heads=1, bottlenecks=0, target=target))
    wanted = expected(q, k, v, begins(1300), heads=1, bottlenecks=0).numpy()
    if factor < 1:
        assert np.abs(got - wanted).max() < 0.01
        return
    assert np.isfinite(got).all()
    assert np.abs(got).max() <= np.abs(values(v)).max() + TOLERANCE
    # Bytes change scores by up to about a fiftieth of their range: what is lost in score must be within it.
    scores = values(q).astype(float) @ values(k).astype(float).T
    nearest = np.abs(got[:, None] - values(v)[None]).max(2).argmin(1)
    lost = scores.max(1) - scores[np.arange(1300), nearest]
    assert (lost[scores.max(1) > 0] / np.ptp(scores, 1)[scores.max(1) > 0]).max() < (0.02 if factor >= 1000 else 0.2)


def test_one_key_gives_its_value(target: str, storage: str, rng: np.random.Generator) -> None:
    q, k, v = (stored(normal(rng, 1, 40), storage) for _ in range(3))
    got = attend(q, k, v, begins(1), heads=5, bottlenecks=0, target=target)
    assert np.array_equal(got, v)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_nan_stays_in_its_sequence(target: str, storage: str, rng: np.random.Generator, part: int) -> None:
    qkv = [normal(rng, 40, 16) for _ in range(3)]
    qkv[part][3, 2] = np.nan
    got = values(attend(*(stored(x, storage) for x in qkv), begins(20, 20), heads=1, bottlenecks=0, target=target))
    assert np.isnan(got[3, 2])
    assert np.isfinite(got[20:]).all()


def test_the_result_may_replace_the_queries(target: str, storage: str, rng: np.random.Generator) -> None:
    q, k, v = (stored(normal(rng, 703, 64), storage) for _ in range(3))
    options: dict[str, Any] = {"heads": 2, "bottlenecks": 3, "target": target}
    wanted = attend(q, k, v, begins(700), **options)
    assert np.array_equal(attend(q, k, v, begins(700), **options, out=q), wanted)


def test_other_types_are_refused() -> None:
    x = np.zeros((6, 8), np.float32)
    with pytest.raises(ValueError, match="q's type, or int8"):
        _C.bottleneck_attention(x, x, x, begins(6), heads=2, bottlenecks=0, compute_type="bfloat16")

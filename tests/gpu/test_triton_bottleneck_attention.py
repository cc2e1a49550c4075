from __future__ import annotations

import pytest
import torch
from agreement import TYPES, assert_agrees, begins, exact, normal

from megaseg.kernels import reference
from megaseg.kernels.triton.bottleneck_attention import bottleneck_attention

SMALL = {"QUERIES": 16, "KEYS": 16, "num_warps": 4, "num_stages": 1}  # so that short sequences have many tiles


def case(rng, dtype, lengths, heads, size, bottlenecks, latent_queries):
    """q alone and k, v as parts of one wider matrix, as a projection leaves them."""
    begin = begins(lengths)
    latents, own = int(begin[-1]), len(lengths) * bottlenecks
    q = normal(rng, latents + (0 if latent_queries else own), heads * size + 8, dtype=dtype)[:, 8:]
    k, v = normal(rng, latents + own, 2 * heads * size, dtype=dtype).chunk(2, dim=1)
    return q, k, v, begin


def check(rng, dtype, lengths, heads, size, bottlenecks, latent_queries, configuration=None):
    q, k, v, begin = case(rng, dtype, lengths, heads, size, bottlenecks, latent_queries)
    expected = reference.bottleneck_attention(*exact(q, k, v, begin), heads, bottlenecks, latent_queries=latent_queries)
    got = bottleneck_attention(
        q, k, v, begin, heads, bottlenecks, max(lengths), latent_queries, configuration=configuration
    )
    assert got.dtype == dtype
    assert got.is_contiguous()
    assert_agrees(got, expected)


@pytest.mark.parametrize("latent_queries", [False, True])
@pytest.mark.parametrize("bottlenecks", [0, 1, 2, 8])
@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
def test_tiles_of_any_alignment(rng, dtype, bottlenecks, latent_queries):
    """Bottleneck tokens and latents share tiles; sequences end within one, at its end, and in one token."""
    lengths = [1, 31, int(rng.integers(2, 40)), 0 if bottlenecks else 1, 16, 48 - bottlenecks]
    check(rng, dtype, lengths, int(rng.integers(1, 3)), 16, bottlenecks, latent_queries, SMALL)


@pytest.mark.parametrize("size", [1, 5, 17, 24, 64, 96])
@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
def test_any_head_size(rng, dtype, size):
    check(rng, dtype, [3, 21], 2, size, 2, False, SMALL)


@pytest.mark.parametrize("latent_queries", [False, True])
@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
def test_windows_of_the_scene_model_are_one_tile(rng, dtype, latent_queries):
    check(rng, dtype, [17] * 3, 2, 64, 6, latent_queries)


@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
def test_a_movie_of_the_act_model(rng, dtype):
    check(rng, dtype, [150, 101], 1, 32, 60, True)


@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
def test_large_scores_do_not_overflow(rng, dtype):
    """Scores of hundreds; the softmax is nearly one of its keys, that of the oracle."""
    q, k, v, begin = case(rng, dtype, [40], 1, 32, 3, False)
    q, k = q * 8, k * 8
    expected = reference.bottleneck_attention(*exact(q, k, v, begin), 1, 3)
    got = bottleneck_attention(q, k, v, begin, 1, 3, 40, configuration=SMALL)
    if dtype == torch.float32:  # a score of 500 is off by 2^-12 at most, and so is its weight in relative terms
        assert torch.allclose(got.cpu().double(), expected, rtol=0, atol=2.0**-12)
    else:
        assert_agrees(got, expected)


def test_what_is_not_a_number_stays_in_its_sequence(rng):
    q, k, v, begin = case(rng, torch.float32, [20, 20], 1, 16, 2, False)
    k[4 + 20 :] = float("nan")  # latents of the second
    expected = reference.bottleneck_attention(*exact(q, k, v, begin), 1, 2)
    got = bottleneck_attention(q, k, v, begin, 1, 2, 20, configuration=SMALL)
    first = ~expected.isnan()
    assert first.any()
    assert not first.all()
    assert torch.equal(got.cpu().isnan(), expected.isnan())
    assert_agrees(got.cpu()[first], expected[first])

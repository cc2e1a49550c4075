"""Scene pairs on a GPU: the kernel against dense products, and the choice against that on arrays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from agreement import DEVICE, TYPES, exact, normal

from megaseg.errors import FeatureError
from megaseg.kernels import reference, scene_pairs
from megaseg.kernels.triton.scene_pairs import scene_pairs as best_columns

SMALL = {"ROWS": 16, "INNER": 16, "num_warps": 4, "num_stages": 1}
SIZES = ((9, 9), (9, 30), (33, 80), (140, 75))


def whole(rng, rows, size, most=2):
    """Small whole numbers, whose sums are exact in every type."""
    return rng.integers(-most, most, (rows, size), endpoint=True).astype(np.float32)


@pytest.mark.parametrize("columns", [1, 63, 64, 65, 150])
@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
def test_the_best_free_column_of_every_block(rng, dtype, columns):
    u, v = (torch.from_numpy(whole(rng, rows, 21)).to(DEVICE, dtype) for rows in (40, columns))
    row = torch.from_numpy(rng.permutation(40)[:33].astype(np.int32)).to(DEVICE)
    free = torch.from_numpy(rng.integers(0, 2, columns).astype(np.uint8)).to(DEVICE)
    score, column, above = (x.cpu().numpy() for x in best_columns(u, v, row, free, 3.0, configuration=SMALL))
    products = np.asarray(exact(u)[0] @ exact(v)[0].T)[row.cpu().numpy()]
    left = np.where(free.cpu().numpy() > 0, products, -np.inf)
    for block in range(-(-columns // 64)):
        own = slice(64 * block, 64 * block + 64)
        assert np.array_equal(score[:, block], left[:, own].max(1))
        assert np.array_equal(above[:, block], (products[:, own] > 3).sum(1))
        some = score[:, block] > -np.inf
        assert np.array_equal(column[some, block], left[some, own].argmax(1) + 64 * block)
        assert (column[~some, block] == columns).all()


@pytest.mark.filterwarnings("ignore:invalid value encountered in matmul", "ignore:overflow encountered in matmul")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_what_is_not_finite_comes_first(rng, value):
    u, v = normal(rng, 20, 8), normal(rng, 70, 8)
    u[3, 0], v[:, 0] = value, 1e30
    score, _, _ = best_columns(
        *(u, v, torch.arange(20, dtype=torch.int32, device=DEVICE), torch.ones(70, dtype=torch.uint8, device=DEVICE)),
        *(0.0,),
    )
    assert torch.isposinf(score).any(1).tolist() == [i == 3 for i in range(20)]


@pytest.mark.parametrize("share", [0.01, 0.5, 1.0])
@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
def test_as_on_arrays(rng, dtype, share):
    us, vs = ([whole(rng, pair[i], 12) for pair in SIZES] for i in (0, 1))
    expected = reference.scene_pairs(us, vs, share=share)
    tensors = ([torch.from_numpy(x).to(DEVICE, dtype) for x in part] for part in (us, vs))
    for got, want in zip(scene_pairs(*tensors, share=share), expected, strict=True):
        assert np.array_equal(got.first, want.first)
        assert np.array_equal(got.scores, want.scores)
        assert got.first.dtype == np.int32


def test_a_taken_column_is_looked_for_again(rng):
    """Repeated shots: the best columns of most rows are the same few."""
    pool = whole(rng, 4, 6)
    u, v = (np.repeat(pool[rng.integers(0, 4, 25)], 6, axis=0) + whole(rng, 150, 6, 1) * 0 for _ in range(2))
    (expected,) = reference.scene_pairs([u], [v], window=4)
    (got,) = scene_pairs(*([torch.from_numpy(x).to(DEVICE)] for x in (u, v)), window=4)
    assert np.array_equal(got.first, expected.first)
    assert np.array_equal(got.scores, expected.scores)


@pytest.mark.filterwarnings("ignore:invalid value", "ignore:overflow encountered")
def test_what_is_not_finite_is_named(rng):
    u, v = normal(rng, 20, 8), normal(rng, 30, 8)
    bad = v.clone()
    bad[29, 7] = torch.nan
    with pytest.raises(FeatureError, match=r"vs\[1\]: expected finite values"):
        scene_pairs([u, u], [v, bad])
    with pytest.raises(FeatureError, match="us, vs of pair 0: expected finite similarities"):
        scene_pairs([u * 1e30], [v * 1e30])
    with pytest.raises(FeatureError, match=r"us\[0\]: expected 9 rows or more"):
        scene_pairs([u[:8]], [v])

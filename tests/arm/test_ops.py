"""Norms, casts, embedding, pairs and bands of every target that a processor has, against float64."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import SIZES, STORED, TARGETS, TYPES, Array, assert_close, layer_norm, normal, stored, values

from megaseg import _C, kernels
from megaseg.errors import FeatureError
from megaseg.kernels import reference
from megaseg.kernels.banded_estep import reach
from megaseg.kernels.finite import all_finite

by_target = pytest.mark.parametrize("target", TARGETS)
by_storage = pytest.mark.parametrize(("target", "storage"), STORED)


@by_storage
@pytest.mark.parametrize("size", SIZES)
def test_layer_norm(target: str, storage: str, size: int) -> None:
    rng = np.random.default_rng(size)
    gamma, beta = normal(rng, size), normal(rng, size)
    for rows, offset in ((0, 0), (1, 0), (7, 0), (13, 100)):
        x = stored(normal(rng, rows, size) + np.float32(offset), storage)
        got = _C.layer_norm(x, gamma, beta, eps=1e-3, target=target)
        assert_close(got, layer_norm(values(x), gamma, beta, 1e-3) if rows else values(x), 3e-6)
    constant = stored(np.full((2, size), 3.25, np.float32), storage)
    assert np.array_equal(_C.layer_norm(constant, gamma, beta, target=target), stored(np.stack([beta, beta]), storage))


@by_storage
def test_casts_between_floats(target: str, storage: str) -> None:
    """To nearest, ties to even; denormals may become 0."""
    bits = np.random.default_rng(0).integers(0, 2**32, 5001, dtype=np.uint64).astype(np.uint32)
    bits = np.concatenate([bits, (bits & 0xFFFF0000) | 0x8000, (bits & 0xFFFF0000) | 0x7FFF])
    x = bits.view(np.float32)
    x = np.concatenate([x[~np.isnan(x)], np.array([np.inf, -np.inf, 0.0, -0.0, 3.4e38, -3.4e38], np.float32)])
    got, expected = values(_C.cast(x[None], storage, target=target))[0], values(stored(x, storage))
    normals = np.abs(x) >= 2.0**-126
    assert np.array_equal(got[normals], expected[normals])
    assert (np.abs(got[~normals]) <= 2.0**-126).all()
    assert np.isnan(values(_C.cast(np.full((1, 9), np.nan, np.float32), storage, target=target))).all()
    back = _C.cast(stored(x[normals][None], storage), "float32", target=target)[0]
    assert np.array_equal(back, expected[normals])


@pytest.mark.parametrize(("target", "kind"), [pair for pair in TYPES if pair[1].startswith("int")])
@pytest.mark.parametrize("size", [*SIZES, 781])
def test_casts_to_grids(target: str, kind: str, size: int) -> None:
    rng = np.random.default_rng(size)
    for storage in [storage for name, storage in STORED if name == target]:
        x = stored(normal(rng, 7, size) * rng.uniform(1e-3, 1e3, (7, 1)).astype(np.float32), storage)
        elements, grids = _C.cast(x, kind, target=target)
        exact = values(x)
        for g in range(grids.shape[1]):
            columns = slice(g * 768, (g + 1) * 768)
            low, step = grids[:, g, :1].astype(np.float64), grids[:, g, 1:].astype(np.float64)
            part, element = exact[:, columns], elements[:, columns]
            whole = np.ptp(part, axis=1) / 255 if kind == "int8" else np.abs(part).max(axis=1) / 8191
            assert np.array_equal(low[:, 0], part.min(axis=1) if kind == "int8" else np.zeros(7))
            assert np.allclose(step[:, 0], whole, rtol=1e-6, atol=0)
            assert (np.abs(low + step * element - part) <= 0.501 * step).all()


@by_storage
@pytest.mark.parametrize("size", SIZES)
def test_embed(target: str, storage: str, size: int) -> None:
    rng = np.random.default_rng(size)
    for rows, shots, length, tokens in ((0, 1, 1, 1), (1, 1, 5, 3), (40, 9, 17, 6)):
        x, position, align = normal(rng, shots, size), normal(rng, length, size), normal(rng, tokens, size)
        gamma, beta = normal(rng, size), normal(rng, size)
        row, place = (rng.integers(0, top, rows, dtype=np.int32) for top in (shots, length))
        slot = place * np.int32(tokens) // np.int32(length)
        out, inverse_std = stored(np.empty((rows, size), np.float32), storage), np.empty(rows, np.float32)
        tables = position, align, gamma, beta
        _C.embed(x, row, place, slot, *tables, eps=1e-3, out=out, inverse_std=inverse_std, target=target)
        summed = x.astype(np.float64)[row] + position[place] + align[slot]
        if rows:
            assert_close(out, layer_norm(summed, gamma, beta, 1e-3), 5e-6)
            assert np.allclose(inverse_std, 1 / np.sqrt(summed.var(axis=1) + 1e-3), rtol=5e-6)


def band(shots: int, sentences: int) -> Array:
    i, j = np.ogrid[:shots, :sentences]
    return np.abs(i * sentences - j * shots) < reach(shots, sentences, 0.3)


@by_storage
@pytest.mark.parametrize("size", SIZES)
def test_banded_estep(target: str, storage: str, size: int) -> None:
    """Equal but for similarities that are closer to the threshold than float32 can tell."""
    rng = np.random.default_rng(size)
    for shots, sentences in ((1, 1), (7, 1), (1, 9), (13, 8), (40, 66), (131, 17)):
        u, v = (stored(normal(rng, n, size) / np.float32(np.sqrt(size)), storage) for n in (shots, sentences))
        threshold = float(np.float32(rng.normal() / np.sqrt(size) / 2))
        got = kernels.banded_estep(u, v, threshold=threshold, target=target, num_threads=2)
        exact = values(u) @ values(v).T
        error = 2.0**-24 * (size + 2) * (np.abs(values(u)) @ np.abs(values(v)).T)
        unsure = np.abs(exact - threshold) <= error + 2.0**-24 * abs(threshold)
        assert np.array_equal(got | unsure, ((exact >= threshold) & band(shots, sentences)) | unsure)
        bits = kernels.banded_estep(u, v, threshold=threshold, as_bits=True, target=target)
        assert np.array_equal(bits, np.packbits(got, axis=1, bitorder="little"))
    u = stored(np.full((5, size), np.inf, np.float32), storage)
    with pytest.raises(FeatureError, match="finite similarities"):
        kernels.banded_estep(u, u, threshold=0.1, target=target)


@by_storage
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("share", [0.03, 0.5])
def test_scene_pairs_with_ties(target: str, storage: str, size: int, share: float) -> None:
    """Small whole numbers, whose sums are exact: the greedy choice itself, pair by pair."""
    rng = np.random.default_rng(size)
    for rows, columns in ((9, 9), (9, 40), (25, 13), (100, 150)):
        u, v = (rng.integers(-1, 2, (n, size)).astype(np.float32) for n in (rows, columns))
        (expected,) = reference.scene_pairs([u], [v], share=share)
        (got,) = kernels.scene_pairs([stored(u, storage)], [stored(v, storage)], share=share, target=target)
        assert np.array_equal(got.first, expected.first)
        assert np.array_equal(got.scores, expected.scores)


@by_storage
def test_scene_pairs_of_any_scores(target: str, storage: str) -> None:
    """Each pair is the best of those left, as near as sums of a type tell."""
    rng = np.random.default_rng(8)
    u, v = (stored(normal(rng, n, 130) / np.float32(np.sqrt(130)), storage) for n in (72, 103))
    (got,) = kernels.scene_pairs([u], [v], target=target)
    a, b = (np.lib.stride_tricks.sliding_window_view(values(x), 9, axis=0).sum(axis=-1) for x in (u, v))
    scores, error = a @ b.T / 81, 2e-6 if storage == "float32" else 4e-4
    i, j = np.ogrid[: scores.shape[0], : scores.shape[1]]
    for (row, column), score in zip(got.first, got.scores, strict=True):
        assert abs(scores[row, column] - score) <= error
        assert scores[row, column] >= scores.max() - 2 * error
        scores[(abs(i - row) < 9) | (abs(j - column) < 9)] = -np.inf
    assert len(got) > 3
    u = stored(np.full((9, 3), np.nan, np.float32), storage)
    with pytest.raises(FeatureError, match="expected finite"):
        kernels.scene_pairs([u], [u], target=target)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_finite(kind: type) -> None:
    rng = np.random.default_rng(9)
    for size in (1, 7, 33, 4097):
        x = rng.choice(np.array([np.finfo(kind).max, np.finfo(kind).smallest_subnormal, -0.0, 1.5], kind), size)
        assert all_finite(x)
        for bad in (np.nan, np.inf, -np.inf):
            with_bad = x.copy()
            with_bad[rng.integers(size)] = bad
            assert not all_finite(with_bad)

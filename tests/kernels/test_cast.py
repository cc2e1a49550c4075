from __future__ import annotations

import numpy as np
import pytest
import torch
from comparison import ROWS, WIDTHS, normal, stored, values

from megaseg import _C, kernels
from megaseg.errors import UnsupportedError


@pytest.mark.parametrize("size", WIDTHS)
def test_between_floats(target, storage, rng, size):
    for rows in ROWS:
        x = normal(rng, rows, size)
        assert np.array_equal(kernels.cast(x, storage, target=target), stored(x, storage))
        assert np.array_equal(kernels.cast(stored(x, storage), storage, target=target), stored(x, storage))
        back = kernels.cast(stored(x, storage), "float32", target=target)
        assert np.array_equal(back, values(stored(x, storage)))


def test_special_values_and_ties(target, storage):
    """Nearest, ties to even, as torch rounds; denormals may become 0."""
    bits = np.random.default_rng(0).integers(0, 2**32, 40_000, dtype=np.uint64).astype(np.uint32)
    bits = np.concatenate([bits, (bits & 0xFFFF0000) | 0x8000, (bits & 0xFFFF0000) | 0x7FFF])
    x = bits.view(np.float32)
    x = np.concatenate([x, np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 3.4e38, -3.4e38], np.float32)])
    got = values(kernels.cast(x[None], storage, target=target))[0]
    expected = values(stored(x, storage))
    normals = ~(np.abs(x) < 2.0**-126)
    assert np.array_equal(got[normals], expected[normals], equal_nan=True)
    assert np.all(np.abs(got[~normals]) <= 2.0**-126)


@pytest.mark.parametrize("size", WIDTHS)
def test_int8_rows(target, storage, rng, size):
    if "int8" not in _C.compute_types(target):
        pytest.skip("this target has no int8")
    for rows in ROWS:
        x = stored(normal(rng, rows, size) * rng.uniform(1e-3, 1e3, (rows, 1)).astype(np.float32), storage)
        elements, grids = kernels.cast(x, "int8", target=target)
        assert (elements.dtype, elements.shape, grids.shape) == (np.uint8, (rows, size), (rows, -(-size // 768), 2))
        exact = values(x).astype(np.float64)
        for g in range(grids.shape[1]):
            part, element = exact[:, g * 768 : (g + 1) * 768], elements[:, g * 768 : (g + 1) * 768].astype(np.float64)
            low, step = grids[:, g, :1], grids[:, g, 1:]
            assert np.array_equal(low, part.min(axis=1, keepdims=True))
            assert np.allclose(step, np.ptp(part, axis=1, keepdims=True) / 255, rtol=1e-6, atol=0)
            assert np.all(np.abs(low + step * element - part) <= 0.5001 * step)


def test_int8_rows_of_nothing_and_of_no_number(target):
    if "int8" not in _C.compute_types(target):
        pytest.skip("this target has no int8")
    x = np.zeros((5, 20), np.float32)
    x[1, 3], x[2, 19], x[3, 0], x[4] = np.nan, np.inf, 1e-42, 1e4
    elements, grids = kernels.cast(x, "int8", target=target)
    assert np.all(elements[[0, 3, 4]] == 0)
    assert np.array_equal(grids[[0, 3, 4], 0], [[0, 0], [0, 0], [1e4, 0]])
    assert not np.isfinite(grids[[1, 2], 0, 0]).any()


def test_an_unknown_type_is_refused(target):
    with pytest.raises(UnsupportedError, match="float32, bfloat16, int8 or int16, got float16"):
        kernels.cast(np.zeros((1, 1), np.float32), "float16", target=target)
    for name in {"bfloat16", "int8"} - set(_C.compute_types(target)):
        with pytest.raises(UnsupportedError, match=f"target {target} has no {name}"):
            kernels.cast(np.zeros((1, 1), np.float32), name, target=target)


def test_the_oracle_of_rounding_is_torch():
    x = torch.randn(100, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(values(stored(x.numpy(), "bfloat16")), x.bfloat16().float().numpy())

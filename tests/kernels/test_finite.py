"""Whether values are finite, against NumPy at every place of odd sizes."""

from __future__ import annotations

import numpy as np
import pytest

from megaseg import _C
from megaseg.kernels.finite import all_finite


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_all_finite(dtype: type) -> None:
    rng = np.random.default_rng()
    largest, least = np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal
    for size in (0, 1, 7, 33, 4095, 4096, 4097, 12345):
        x = rng.choice(np.array([largest, -largest, least, -0.0, 1.5], dtype), size)
        assert all_finite(x)
        for bad in (np.nan, -np.nan, np.inf, -np.inf) if size else ():
            for place in {0, size - 1, int(rng.integers(size))}:
                with_bad = x.copy()
                with_bad[place] = bad
                assert not all_finite(with_bad)
                assert not all_finite(with_bad.reshape(1, -1)[:, ::-1])  # not contiguous


def test_other_arrays_are_refused() -> None:
    with pytest.raises(TypeError, match="float32 or float16"):
        _C.all_finite(np.zeros(3))
    with pytest.raises(ValueError, match="contiguous"):
        _C.all_finite(np.zeros((3, 2), np.float32).T)
    assert all_finite(np.zeros(3, np.int32))

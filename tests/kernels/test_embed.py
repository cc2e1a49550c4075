from __future__ import annotations

import numpy as np
import pytest
from comparison import WIDTHS, assert_close, assert_untouched_around, exact, normal, space

from megaseg import kernels
from megaseg.kernels import reference


@pytest.mark.parametrize("size", WIDTHS)
def test_any_size(target, storage, rng, size):
    length, tokens = int(rng.choice([1, 5, 17])), int(rng.integers(1, 7))
    for rows, shots in ((0, 1), (1, 1), (7, 2), (40, 9)):
        x, position, align = normal(rng, shots, size), normal(rng, length, size), normal(rng, tokens, size)
        gamma, beta = normal(rng, size), normal(rng, size)
        row, place = (rng.integers(0, top, rows, dtype=np.int32) for top in (shots, length))
        arrays = (x, row, place, place * np.int32(tokens) // np.int32(length), position, align, gamma, beta)
        out, inverse_std = space(storage, rows, size), np.empty(rows, np.float32)
        kernels.embed(*arrays, eps=1e-3, out=out, inverse_std=inverse_std, target=target)
        assert_close(out, reference.embed(*exact(*arrays), eps=1e-3), 5e-6)
        assert_untouched_around(out)
        summed = x.astype(np.float64)[row] + position[place] + align[arrays[3]]
        assert np.allclose(inverse_std, 1 / np.sqrt(summed.var(axis=1) + 1e-3), rtol=5e-6)


def test_indices_out_of_range_are_refused():
    x, ones = np.zeros((3, 4), np.float32), np.ones(4, np.float32)
    good = np.zeros(2, np.int32)
    for bad in (np.array([0, 3], np.int32), np.array([-1, 0], np.int32), np.zeros(1, np.int32)):
        with pytest.raises(ValueError, match="embed: row, place, slot"):
            kernels.embed(x, good, bad, good, x, x, ones, ones)

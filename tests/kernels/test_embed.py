from __future__ import annotations

import numpy as np
import pytest
from comparison import WIDTHS, assert_close, exact, normal

from megaseg import kernels
from megaseg.kernels import reference


@pytest.mark.parametrize("size", WIDTHS)
def test_any_size(target, rng, size):
    length, tokens = int(rng.choice([1, 5, 17])), int(rng.integers(1, 7))
    for shots in (1, 2, 9, 40):
        x, position, align = normal(rng, shots, size), normal(rng, length, size), normal(rng, tokens, size)
        gamma, beta = normal(rng, size), normal(rng, size)
        first = int(rng.integers(0, shots))
        windows = int(rng.integers(0, shots - first + 1))
        expected = reference.embed(*exact(x, position, align, gamma, beta), windows, first, eps=1e-3)
        got = kernels.embed(x, position, align, gamma, beta, windows=windows, first=first, eps=1e-3, target=target)
        assert_close(got, expected, 5e-6)


def test_edge_shots_repeat(target):
    x = np.arange(3, dtype=np.float32)[:, None] * np.array([[1, -1]], np.float32)
    zeros = np.zeros((5, 2), np.float32)
    ones, none = np.ones(2, np.float32), np.zeros(2, np.float32)
    got = kernels.embed(x, zeros, zeros[:1], ones, none, windows=3, eps=1.0, target=target)
    shown = np.array([[0, 0, 0, 1, 2], [0, 0, 1, 2, 2], [0, 1, 2, 2, 2]])
    expected = shown / np.sqrt(shown**2 + 1.0)
    assert np.allclose(got[..., 0], expected, atol=1e-6)

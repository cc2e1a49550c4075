from __future__ import annotations

import numpy as np
import pytest
import torch
from comparison import ROWS, WIDTHS, assert_close, exact, normal

from megaseg import kernels
from megaseg.errors import UnsupportedError
from megaseg.kernels import reference

EPS = np.finfo(np.float32).eps


def tolerance(x, weight):
    """A sum of k products in float32, rounding errors taken as independent, with a factor of 4 in hand."""
    return 4 * EPS * (1 + np.sqrt(x.shape[1]) * np.abs(x).max(initial=0) * np.abs(weight).max() / 2)


@pytest.mark.parametrize("n", WIDTHS)
def test_any_size(target, rng, n):
    for rows in ROWS:
        k = int(rng.choice(WIDTHS))
        x, weight, bias, residual = normal(rng, rows, k), normal(rng, n, k), normal(rng, n), normal(rng, rows, n)
        for gelu in (False, True):
            got = kernels.linear(x, weight, bias, residual=residual, gelu=gelu, target=target)
            assert_close(got, reference.linear(*exact(x, weight, bias, residual), gelu=gelu), tolerance(x, weight))


@pytest.mark.parametrize("k", [255, 256, 257, 768, 3073])
def test_inputs_longer_than_a_block(target, rng, k):
    x, weight, bias, residual = normal(rng, 9, k), normal(rng, 70, k), normal(rng, 70), normal(rng, 9, 70)
    got = kernels.linear(x, weight, bias, residual=residual, gelu=True, target=target)
    assert_close(got, reference.linear(*exact(x, weight, bias, residual), gelu=True), tolerance(x, weight))


def test_without_bias_and_residual(target, rng):
    x, weight = normal(rng, 7, 20), normal(rng, 33, 20)
    assert_close(kernels.linear(x, weight, target=target), reference.linear(*exact(x, weight)), tolerance(x, weight))


def test_gelu_over_its_whole_range(target):
    x = np.concatenate([np.linspace(-12, 12, 40001), [-1e30, -1e4, 1e4, 1e30, 0.0, -0.0]]).astype(np.float32)[:, None]
    got = kernels.linear(x, np.ones((1, 1), np.float32), gelu=True, target=target)
    expected = torch.nn.functional.gelu(torch.from_numpy(x).double()).numpy()
    assert np.all(np.abs(got - expected) <= 1.2e-7 * np.maximum(1, np.abs(x)))


def test_rows_do_not_depend_on_their_neighbours_or_on_threads(target, rng):
    x, weight, bias = normal(rng, 101, 900), normal(rng, 130, 900), normal(rng, 130)
    whole = kernels.linear(x, weight, bias, gelu=True, target=target)
    for threads in (2, 3):
        assert np.array_equal(whole, kernels.linear(x, weight, bias, gelu=True, target=target, num_threads=threads))
    for begin, end in ((0, 1), (3, 10), (50, 101)):
        assert np.array_equal(whole[begin:end], kernels.linear(x[begin:end], weight, bias, gelu=True, target=target))


def test_wrong_arguments_are_refused():
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match="linear: x"):
        kernels.linear(x, np.zeros((4, 5), np.float32))
    with pytest.raises(UnsupportedError, match="cpu float32, got cpu float64"):
        kernels.linear(x.astype(np.float64), x)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match="target=mmx: .*portable"):
        kernels.linear(x, x, target="mmx")

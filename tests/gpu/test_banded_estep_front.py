"""``megaseg.kernels.banded_estep`` on torch tensors: the same W as on arrays, movie by movie."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from agreement import DEVICE

from megaseg.errors import FeatureError
from megaseg.kernels import banded_estep
from megaseg.kernels.banded_estep import density_threshold

SIZES = ((17, 9), (3, 20), (1, 1), (40, 8))


def movies(rng: np.random.Generator) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Whole numbers, whose products every type adds up exactly."""
    us, vs = ([rng.integers(-2, 3, (pair[i], 12)).astype(np.float32) for pair in SIZES] for i in (0, 1))
    return us, vs


@pytest.mark.parametrize("as_bits", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_as_on_arrays(dtype: torch.dtype, as_bits: bool, rng: np.random.Generator) -> None:
    us, vs = movies(rng)
    expected = banded_estep(us, vs, threshold=2.0, as_bits=as_bits)
    tensors = ([torch.from_numpy(x).to(DEVICE, dtype) for x in part] for part in (us, vs))
    got = banded_estep(*tensors, threshold=2.0, as_bits=as_bits)
    assert [w.dtype for w in got] == [torch.uint8 if as_bits else torch.bool] * len(SIZES)
    for w, want in zip(got, expected, strict=True):
        assert np.array_equal(w.cpu().numpy(), want)
    assert any(w.any() for w in expected)


def test_one_movie(rng: np.random.Generator) -> None:
    us, vs = movies(rng)
    got = banded_estep(torch.from_numpy(us[0]).to(DEVICE), torch.from_numpy(vs[0]).to(DEVICE), threshold=2.0)
    assert np.array_equal(got.cpu().numpy(), banded_estep(us[0], vs[0], threshold=2.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_kernel_finds_the_pairs_of_its_own_lambda(dtype: torch.dtype, rng: np.random.Generator) -> None:
    us, vs = ([torch.from_numpy(rng.normal(0, 0.2, (pair[i], 33))).to(DEVICE, dtype) for pair in SIZES] for i in (0, 1))
    inside, kept = (
        sum(int(w.sum()) for w in banded_estep(us, vs, threshold=threshold))
        for threshold in (-1e30, density_threshold(us, vs, 0.05))
    )
    assert kept == 1 + int(Fraction("0.05") * (inside - 1))


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # the interpreter's, of the very value
def test_a_similarity_that_is_not_finite_names_its_movie(rng: np.random.Generator) -> None:
    us, vs = ([torch.from_numpy(x).to(DEVICE) for x in part] for part in movies(rng))
    us[2][0, 0] = torch.inf
    with pytest.raises(FeatureError, match="shots, sentences of movie 2: expected finite similarities"):
        banded_estep(us, vs, threshold=2.0)


def test_sizes_that_do_not_fit(rng: np.random.Generator) -> None:
    us, vs = ([torch.from_numpy(x).to(DEVICE) for x in part] for part in movies(rng))
    with pytest.raises(FeatureError, match=r"sentences\[1\]: expected rows of 12 values"):
        banded_estep(us, [vs[0], vs[1][:, :5], *vs[2:]], threshold=2.0)

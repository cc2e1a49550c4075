from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from agreement import DEVICE, TYPES, begins, exact, normal

from megaseg.kernels import reference
from megaseg.kernels.banded_estep import reach
from megaseg.kernels.triton.banded_estep import banded_estep

SMALL = {"SHOTS": 16, "SENTENCES": 16, "INNER": 16, "num_warps": 4, "num_stages": 1}
SURELY = -1e30  # a threshold that every similarity meets


def run(us, vs, threshold, band=0.3, configuration=SMALL):
    """The movies' matrices as booleans, and which of them were bad."""
    sizes = [(len(u), len(v)) for u, v in zip(us, vs, strict=True)]
    widths = [n * -(-m // 8) for n, m in sizes]
    out_begin = torch.from_numpy(np.concatenate([[0], np.cumsum(widths)]).astype(np.int64)).to(DEVICE)
    bits, bad = banded_estep(
        torch.cat(us).to(DEVICE),
        torch.cat(vs).to(DEVICE),
        begins([n for n, _ in sizes]),
        begins([m for _, m in sizes]),
        torch.tensor([reach(*size, band) for size in sizes], device=DEVICE),
        out_begin,
        max(n for n, _ in sizes),
        max(m for _, m in sizes),
        sum(widths),
        threshold,
        configuration=configuration,
    )
    assert bits.dtype == torch.uint8
    assert len(bits) == sum(widths)
    parts = [part.cpu().numpy().reshape(n, -1) for part, (n, _) in zip(bits.split(widths), sizes, strict=True)]
    unpacked = [np.unpackbits(part, axis=1, bitorder="little") for part in parts]
    for w, (_, m) in zip(unpacked, sizes, strict=True):
        assert not w[:, m:].any(), "bits after the last sentence"
    return [w[:, :m].astype(bool) for w, (_, m) in zip(unpacked, sizes, strict=True)], bad.tolist()


def movie(rng, shots, sentences, size, dtype):
    return tuple(normal(rng, n, size, dtype=dtype) / size**0.5 for n in (shots, sentences))


@pytest.mark.parametrize("size", [1, 16, 37])
@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
def test_a_batch_of_any_sizes(rng, dtype, size):
    lengths = ((1, 1), (1, 9), (7, 1), (16, 16), (13, 8), (40, 33), (65, 17))
    us, vs = (list(x) for x in zip(*(movie(rng, *pair, size, dtype) for pair in lengths), strict=True))
    threshold = float(np.float32(rng.normal() / size**0.5 / 2))
    got, bad = run(us, vs, threshold)
    assert bad == [0] * len(lengths)
    for w, u, v in zip(got, us, vs, strict=True):
        u, v = exact(u, v)
        expected = reference.banded_estep(u, v, threshold).numpy()
        # A sum of products in float32 is off by half a unit in the last place of the magnitudes for each addition.
        error = 2.0**-24 * (size + 2) * (u.abs() @ v.abs().T).numpy()
        unsure = np.abs((u @ v.T).numpy() - threshold) <= error + 2.0**-24 * abs(threshold)
        assert np.array_equal(w | unsure, expected | unsure)


def test_the_band_is_exact():
    for (shots, sentences), band in itertools.product(
        ((5, 3), (10, 10), (20, 30), (100, 7)), (0.3, 0.25, 0.07, 1.0, 1e-9)
    ):
        u, v = torch.ones(shots, 3), torch.ones(sentences, 3)
        (w,), _ = run([u], [v], SURELY, band)
        assert np.array_equal(w, reference.banded_estep(*exact(u, v), SURELY, band).numpy()), (shots, sentences, band)


def test_an_empty_band_is_zeros():
    """Shots between two sentences lie outside a narrow band: whole tiles are skipped, and their bytes written."""
    (w,), _ = run([torch.ones(64, 2)], [torch.ones(32, 2)], SURELY, 1e-9)
    assert w.sum() == 32
    assert np.array_equal(w, np.repeat(np.eye(32, dtype=bool), 2, axis=0) & (np.arange(64) % 2 == 0)[:, None])


@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
def test_a_similarity_that_equals_the_threshold_is_one(dtype):
    """Whole numbers add without rounding: the comparison itself is seen."""
    u, v = torch.ones(9, 37, dtype=dtype), torch.ones(9, 37, dtype=dtype)
    for threshold, one in ((37.0, True), (float(np.nextafter(np.float32(37), np.float32(38))), False)):
        (w,), _ = run([u], [v], threshold, band=1.0)
        assert w.all() if one else not w.any()


@pytest.mark.filterwarnings("ignore:invalid value encountered in matmul")  # NumPy's, of the interpreter: inf - inf
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_the_movie_of_what_is_not_finite_is_marked(rng, value):
    us, vs = (list(x) for x in zip(*(movie(rng, 40, 20, 24, torch.float32) for _ in range(3)), strict=True))
    us[1][39, 3] = value
    _, bad = run(us, vs, 0.1)
    assert bad == [0, 1, 0]


@pytest.mark.filterwarnings("ignore:overflow encountered in matmul")
@pytest.mark.parametrize(("sentence", "inside"), [(0, False), (13, False), (14, True), (19, True)])
def test_what_overflows_matters_within_the_band_only(sentence, inside):
    """Shot 39 of 40 meets sentences 14 to 19 of 20; one product of all passes the largest float32."""
    u, v = torch.ones(40, 8), torch.ones(20, 8)
    v[:, 3] = 0
    u[39, 3] = v[sentence, 3] = 1e30
    (w,), bad = run([u], [v], SURELY)
    assert bad == [int(inside)]
    assert not w[39, :14].any()


def test_the_recorded_configuration(rng):
    u, v = movie(rng, 150, 70, 40, torch.float32)
    (w,), bad = run([u], [v], 0.05, configuration=None)
    assert bad == [0]
    assert (w != reference.banded_estep(*exact(u, v), 0.05).numpy()).sum() <= 1

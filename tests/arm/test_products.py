"""Linear layers of every target that a processor has, against float64."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from oracle import TARGETS, TYPES, gelu, normal, stored, values

from megaseg import _C

# Of values near 1, whose operands were rounded to a type: relative to the deviation of a result.
TOLERANCE = {"float32": 1e-6, "bfloat16": 8e-3, "int8": 2e-2, "int16": 5e-3}
by_type = pytest.mark.parametrize(("target", "kind"), TYPES)


@pytest.mark.skipif("MEGASEG_EXPECTED_TARGETS" not in os.environ, reason="not run by tests/arm/run.sh")
def test_a_processor_offers_what_it_has():
    """The runner says what the emulated processor must offer, and the last of it runs."""
    assert json.loads(os.environ["MEGASEG_EXPECTED_TARGETS"]) == TARGETS
    assert _C.target() == TARGETS[-1]


@by_type
@pytest.mark.parametrize("activated", [False, True])
def test_linear(target: str, kind: str, activated: bool) -> None:
    rng = np.random.default_rng(7 + activated)
    for rows, n, k in ((1, 5, 3), (2, 9, 31), (7, 17, 64), (9, 40, 130), (13, 8, 781), (5, 2, 33)):
        x, weight, bias, residual = (normal(rng, *shape) for shape in ((rows, k), (n, k), (n,), (rows, n)))
        got = _C.linear(x, weight, bias, residual, gelu=activated, compute_type=kind, target=target)
        exact = x.astype(np.float64) @ weight.T.astype(np.float64) + bias + residual
        expected = gelu(exact) if activated else exact
        error = np.abs(values(got) - expected).max()
        assert error <= TOLERANCE[kind] * np.sqrt(k) * 4, (rows, n, k)


@by_type
@pytest.mark.parametrize("activated", [False, True])
def test_nan_stays_in_its_row(target: str, kind: str, activated: bool) -> None:
    rng = np.random.default_rng(17)
    x, weight = normal(rng, 9, 40), normal(rng, 11, 40)
    x[4, 37] = np.nan
    got = values(_C.linear(x, weight, gelu=activated, compute_type=kind, target=target))
    assert np.array_equal(np.isnan(got), np.isnan(x).any(axis=1, keepdims=True).repeat(11, axis=1))


@by_type
def test_rows_do_not_depend_on_their_neighbours(target: str, kind: str) -> None:
    rng = np.random.default_rng(11)
    x, weight = normal(rng, 19, 137), normal(rng, 23, 137)
    whole = _C.linear(x, weight, compute_type=kind, target=target)
    for rows in (1, 2, 3, 5, 8, 11):
        parts = [_C.linear(x[i : i + rows], weight, compute_type=kind, target=target) for i in range(0, 19, rows)]
        assert np.array_equal(np.concatenate(parts), whole), rows


@by_type
def test_an_identity_gives_the_weights_as_they_are_kept(target: str, kind: str) -> None:
    """To the nearest that the type has, in every column and element of k."""
    weight = normal(np.random.default_rng(13), 23, 137)
    got = values(_C.linear(np.eye(137, dtype=np.float32), weight, compute_type=kind, target=target)).T
    if kind.startswith("int"):
        step = np.abs(weight).max(axis=1, keepdims=True) / {"int8": 127, "int16": 511}[kind]
        assert (np.abs(got - weight) <= 0.501 * step).all()
    else:
        assert np.array_equal(got, values(stored(weight, kind)))


by_int8 = pytest.mark.parametrize("target", [target for target in TARGETS if "int8" in _C.product_types(target)])


@by_int8
def test_int8_products_are_exact(target: str) -> None:
    """Whole numbers that int8 holds as they are, also beyond 16 bits of sum."""
    rng = np.random.default_rng(3)
    x = rng.integers(0, 256, (5, 700)).astype(np.float32)
    weight = rng.integers(-127, 128, (9, 700)).astype(np.float32)
    x[:, :2], weight[:, 0] = (0, 255), 127
    got = _C.linear(x, weight, compute_type="int8", target=target)
    assert np.allclose(got, x @ weight.T, rtol=2e-6, atol=1)


@by_int8
def test_results_as_int8(target: str) -> None:
    """Every grid of a row from its least value to the largest, in 255 steps; by way of bfloat16 on some targets."""
    rng = np.random.default_rng(5)
    x, weight = normal(rng, 7, 40), normal(rng, 900, 40)
    layer = _C.Linear(weight, compute_type="int8", target=target)
    elements, grids = layer.to_int8(x)
    low, step = np.repeat(grids, 768, axis=1)[:, :900].transpose(2, 0, 1)
    exact = layer(x)
    assert (np.abs(low + step * elements - exact) <= 0.51 * step + 2.0**-8 * np.abs(exact).max()).all()
    assert elements.min() == 0
    assert elements.max() == 255

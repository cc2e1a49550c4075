"""Products and attention of every target that an emulated processor has, against float64. NumPy alone: no torch."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import pytest

from megaseg import _C

TARGETS = _C.available_targets()
TYPES = [(target, kind) for target in TARGETS for kind in _C.product_types(target)]
STORED = [(target, kind) for target, kind in TYPES if not kind.startswith("int")]
# Of values near 1, whose operands were rounded to a type: relative to the deviation of a result.
TOLERANCE = {"float32": 1e-6, "bfloat16": 8e-3, "int8": 2e-2, "int16": 5e-3}
Array = np.ndarray[Any, Any]


def normal(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def as_float(x: Array) -> Array:
    return (x.astype(np.uint32) << 16).view(np.float32) if x.dtype == np.uint16 else x


@pytest.mark.skipif("MEGASEG_EXPECTED_TARGETS" not in os.environ, reason="not run by tests/arm/run.sh")
def test_a_processor_offers_what_it_has():
    """The runner says what the emulated processor must offer."""
    assert json.loads(os.environ["MEGASEG_EXPECTED_TARGETS"]) == TARGETS


@pytest.mark.parametrize(("target", "kind"), TYPES)
def test_linear(target: str, kind: str) -> None:
    for rows, n, k in ((1, 5, 3), (2, 9, 31), (7, 17, 64), (9, 40, 130), (13, 8, 781)):
        x, weight, bias = normal(k, rows, k), normal(n, n, k), normal(rows, n)
        got = _C.linear(x, weight, bias, compute_type=kind, target=target)
        exact = x.astype(np.float64) @ weight.T.astype(np.float64) + bias
        assert np.abs(as_float(got) - exact).max() <= TOLERANCE[kind] * np.sqrt(k) * 4, (rows, n, k)


@pytest.mark.parametrize(("target", "kind"), TYPES)
def test_rows_do_not_depend_on_their_neighbours(target: str, kind: str) -> None:
    x, weight = normal(1, 19, 137), normal(2, 23, 137)
    whole = _C.linear(x, weight, compute_type=kind, target=target)
    for rows in (1, 2, 3, 5, 8, 11):
        parts = [_C.linear(x[i : i + rows], weight, compute_type=kind, target=target) for i in range(0, 19, rows)]
        assert np.array_equal(np.concatenate(parts), whole), rows


def attention(q: Array, k: Array, v: Array, heads: int) -> Array:
    split = [x.astype(np.float64).reshape(len(x), heads, -1).swapaxes(0, 1) for x in (q, k, v)]
    scores = split[0] @ split[1].swapaxes(1, 2) / np.sqrt(split[0].shape[2])
    weights = np.exp(scores - scores.max(axis=2, keepdims=True))
    out = weights / weights.sum(axis=2, keepdims=True) @ split[2]
    return out.swapaxes(0, 1).reshape(q.shape)


@pytest.mark.parametrize(
    ("target", "storage", "kind"),
    [(t, s, kind) for t, s in STORED for kind in (s, "int8") if kind in _C.product_types(t)],
)
def test_attention(target: str, storage: str, kind: str) -> None:
    for tokens, head_size in ((1, 5), (19, 16), (67, 33), (530, 48)):
        qkv = [_C.cast(normal(tokens + i, tokens, 2 * head_size), storage, target=target) for i in range(3)]
        begin = np.array([0, tokens - 1], np.int32)
        got = _C.bottleneck_attention(*qkv, begin, heads=2, bottlenecks=1, compute_type=kind, target=target)
        error = np.abs(as_float(got) - attention(*map(as_float, qkv), 2)).max()
        assert error <= {"float32": 3e-6, "bfloat16": 4e-2, "int8": 6e-2}[kind], (tokens, head_size)


@pytest.mark.parametrize("target", [target for target in TARGETS if "int8" in _C.product_types(target)])
def test_int8_products_are_exact(target: str) -> None:
    """Whole numbers that int8 holds as they are, also beyond 16 bits of sum."""
    rng = np.random.default_rng(3)
    x = rng.integers(0, 256, (5, 700)).astype(np.float32)
    weight = rng.integers(-127, 128, (9, 700)).astype(np.float32)
    x[:, :2], weight[:, 0] = (0, 255), 127
    got = _C.linear(x, weight, compute_type="int8", target=target)
    assert np.allclose(got, x @ weight.T, rtol=2e-6, atol=1)

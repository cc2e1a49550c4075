"""Ops in NumPy and float64, and how results compare with them. No torch: an emulated processor has none."""

from __future__ import annotations

import ctypes
import math
import mmap
from typing import Any

import numpy as np
from programs import bfloat16

from megaseg import _C

Array = np.ndarray[Any, Any]
TARGETS = _C.available_targets()
TYPES = [(target, kind) for target in TARGETS for kind in _C.product_types(target)]
STORED = [(target, kind) for target, kind in TYPES if not kind.startswith("int")]
SIZES = (1, 5, 17, 33, 130)


def guarded(x: Array) -> Array:
    """A copy that ends at a page without access: a kernel that reads or writes past it ends the process."""
    page = mmap.PAGESIZE
    pages = mmap.mmap(-1, (x.nbytes + page - 1) // page * page + page)
    end = len(pages) - page
    guard = ctypes.addressof(ctypes.c_char.from_buffer(pages, end))
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(page), 0) == 0
    copy: Array = np.ndarray(x.shape, x.dtype, pages, end - x.nbytes)
    copy[...] = x
    return copy


def normal(rng: np.random.Generator, *shape: int) -> Array:
    return guarded(rng.standard_normal(shape, dtype=np.float32))


def stored(x: Array, storage: str) -> Array:
    """x as ops take it: float32, or bfloat16's bits."""
    return guarded(x if storage == "float32" else bfloat16(x))


def values(x: Array) -> Array:
    """What a stored array holds, in float64."""
    return ((x.astype(np.uint32) << 16).view(np.float32) if x.dtype == np.uint16 else x).astype(np.float64)


def assert_close(got: Array, expected: Array, tolerance: float) -> None:
    """Within tolerance * max(1, |expected|), and what storing a bfloat16 costs."""
    assert got.shape == expected.shape
    error, magnitude = np.abs(values(got) - expected), np.abs(expected)
    allowed = tolerance * np.maximum(1, magnitude) + (2.0**-8 * magnitude if got.dtype == np.uint16 else 0)
    assert (error <= allowed).all(), f"max error {error.max():.2e}"


def gelu(x: Array) -> Array:
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2


def layer_norm(x: Array, gamma: Array, beta: Array, eps: float) -> Array:
    centred = x - x.mean(axis=1, keepdims=True)
    return centred / np.sqrt(x.var(axis=1, keepdims=True) + eps) * gamma + beta


def softmax(scores: Array) -> Array:
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def attention(q: Array, k: Array, v: Array, heads: int) -> Array:
    """(queries, C), (keys, C), (keys, C) of one sequence."""
    parts = zip(*(np.split(x, heads, axis=1) for x in (q, k, v)), strict=True)
    return np.concatenate([softmax(q @ k.T / math.sqrt(k.shape[1])) @ v for q, k, v in parts], axis=1)

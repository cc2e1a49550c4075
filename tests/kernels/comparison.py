"""How kernel tests compare: arrays in float32 against the oracle on the same values in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

Array = np.ndarray[Any, Any]
# Widths around every vector and panel width: 4, 8, 16 lanes; panels of 8, 16 and 64.
WIDTHS = (1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 31, 33, 63, 64, 65, 96, 127, 130)
ROWS = (0, 1, 2, 5, 6, 7, 13)


def normal(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape, dtype=np.float32)


def exact(*arrays: Array | None) -> list[Any]:
    """The same values as float64 tensors, for the oracle."""
    return [None if a is None else torch.from_numpy(a).double() for a in arrays]


def assert_close(got: Array, expected: torch.Tensor, tolerance: float | Array) -> None:
    """Every |got - expected| within tolerance * max(1, |expected|)."""
    reference = expected.numpy()
    assert got.dtype == np.float32
    assert got.shape == reference.shape
    error = np.abs(got - reference)
    assert np.all(error <= tolerance * np.maximum(1, np.abs(reference))), f"max error {error.max():.2e}"

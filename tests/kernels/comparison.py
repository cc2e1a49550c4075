"""How kernel tests compare: stored arrays against the oracle on the same values in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

Array = np.ndarray[Any, Any]
# Widths around every vector and panel width: 4, 8, 16 lanes; panels of 8, 16 and 64.
WIDTHS = (1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 31, 33, 63, 64, 65, 96, 127, 130)
ROWS = (0, 1, 2, 5, 6, 7, 13)
# Half the distance to the next number, relative: what storing a result costs.
ROUNDING = {"float32": 2.0**-24, "bfloat16": 2.0**-8}


def normal(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape, dtype=np.float32)


def stored(x: Array, storage: str) -> Array:
    """x as an op takes it: float32, or bfloat16's bits in uint16."""
    if storage == "float32":
        return x
    return torch.from_numpy(x).bfloat16().view(torch.int16).numpy().view(np.uint16).copy()


def values(x: Array) -> Array:
    """What a stored array holds."""
    return (x.astype(np.uint32) << 16).view(np.float32) if x.dtype == np.uint16 else x


def space(storage: str, *shape: int) -> Array:
    """Room for a result within a wider matrix; NaN around it, and in it until it is written."""
    wide = np.full((*shape[:-1], shape[-1] + 3), np.nan, np.float32)
    return stored(wide, storage)[..., : shape[-1]]


def assert_untouched_around(out: Array) -> None:
    assert out.base is not None
    assert np.isnan(values(out.base)[..., out.shape[-1] :]).all()


def exact(*arrays: Array | None) -> list[Any]:
    """The same values as float64 tensors, for the oracle; indices as they are."""
    return [
        None if a is None else torch.from_numpy(a) if a.dtype == np.int32 else torch.from_numpy(values(a)).double()
        for a in arrays
    ]


def assert_close(got: Array, expected: torch.Tensor, tolerance: float | Array) -> None:
    """Every |got - expected| within tolerance * max(1, |expected|), and what storing it costs."""
    reference = expected.numpy()
    assert got.dtype in (np.float32, np.uint16)
    assert got.shape == reference.shape
    error = np.abs(values(got) - reference)
    allowed = tolerance * np.maximum(1, np.abs(reference))
    if got.dtype == np.uint16:
        allowed += ROUNDING["bfloat16"] * np.abs(reference)
    assert np.all(error <= allowed), f"max error {error.max():.2e}"

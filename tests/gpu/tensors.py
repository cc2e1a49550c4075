"""Random tensors of every type that GPU kernels take, and how close to float64 they must come."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

TYPES = (torch.float32, torch.float16, torch.bfloat16)
# A few roundings of the type at a value of one.
TOLERANCE = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}


def normal(rng: np.random.Generator, dtype: torch.dtype, *shape: int, padding: int = 0) -> Tensor:
    """Values of a normal distribution; with ``padding`` the rows are a part of wider ones."""
    wide = torch.from_numpy(rng.standard_normal((*shape[:-1], shape[-1] + padding))).to(dtype)
    return wide[..., : shape[-1]]


def assert_close(got: Tensor, expected: Tensor) -> None:
    """Every error within the type's tolerance times max(1, |expected|)."""
    assert got.shape == expected.shape
    error = (got.double() - expected).abs() / expected.abs().clamp(min=1)
    assert error.max() <= TOLERANCE[got.dtype], f"max error {error.max():.2e}"

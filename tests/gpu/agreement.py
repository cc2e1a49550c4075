"""Inputs of a compute type and agreement with the oracle in float64 on the same, rounded, inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # the interpreter's
TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def normal(rng: np.random.Generator, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)).to(DEVICE, dtype)


def exact(*tensors: torch.Tensor) -> Any:
    """For the oracle, on the host."""
    tensors = tuple(x.cpu() for x in tensors)
    return [x.double() if x.is_floating_point() else x for x in tensors]


def begins(lengths: Any) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)).to(DEVICE)


def assert_agrees(got: torch.Tensor, expected: torch.Tensor, ulps: float = 3) -> None:
    """|got - expected| at most 1e-5, or so many units in the last place of the largest value expected."""
    assert got.shape == expected.shape
    assert got.isfinite().all()
    got, expected = got.cpu(), expected.cpu()
    largest = max(1.0, float(expected.abs().max())) if expected.numel() else 1.0
    allowed = 1e-5 if got.dtype == torch.float32 else ulps * torch.finfo(got.dtype).eps
    error = float((got.double() - expected).abs().max()) if expected.numel() else 0.0
    assert error <= allowed * largest, f"max error {error:.2e}, allowed {allowed * largest:.2e}"

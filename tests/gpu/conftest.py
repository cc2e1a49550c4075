"""Triton's kernels on its interpreter where there is no GPU: the variable must be there before triton is imported."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="GPU kernels are reached through torch")
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton", reason="pip install 'megaseg[gpu]'")


@pytest.fixture(autouse=True, scope="session")
def _bfloat16_products() -> None:
    """The interpreter keeps bfloat16 as bits and multiplies the bits; here they are widened, which is exact."""
    if os.environ.get("TRITON_INTERPRET") != "1":
        return
    import triton.language as tl
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    multiply = InterpreterBuilder.create_dot

    def wide(x: Any) -> Any:
        if x.dtype.scalar != tl.bfloat16:
            return x
        return TensorHandle((x.data.astype(np.uint32) << 16).view(np.float32), tl.float32)

    def create_dot(self: Any, a: Any, b: Any, *rest: Any) -> Any:
        return multiply(self, wide(a), wide(b), *rest)

    InterpreterBuilder.create_dot = create_dot


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Seeded by the test's name: fresh data for every case, the same on every run."""
    return np.random.default_rng(list(request.node.name.encode()))

"""Linear layers on a GPU: our kernel, and torch's product with our epilogue."""

from __future__ import annotations

import numpy as np
import pytest
from agreement import TYPES, assert_agrees, normal

from megaseg.kernels import reference
from megaseg.kernels.triton.linear import linear, torch_linear

SMALL = {
    "ROWS": 16,
    "COLUMNS": 32,
    "INNER": 16,
    "GROUP": 2,
}  # several tiles each way, an inner loop that ends in a tail


@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
@pytest.mark.parametrize(("rows", "inner", "outer"), [(1, 1, 1), (50, 37, 70), (33, 48, 64)])
@pytest.mark.parametrize(("bias", "residual", "gelu"), [(1, 1, 1), (1, 0, 0), (0, 1, 0), (1, 0, 1), (0, 0, 1)])
def test_linear(dtype, rows, inner, outer, bias, residual, gelu, rng: np.random.Generator) -> None:
    x, weight = (
        normal(rng, rows, inner + 5, dtype=dtype)[:, :inner],
        normal(rng, outer, inner, dtype=dtype) / inner**0.5,
    )
    b = normal(rng, outer) if bias else None
    r = normal(rng, rows, outer + 3, dtype=dtype)[:, :outer] if residual else None
    expected = reference.linear(*(t if t is None else t.double().cpu() for t in (x, weight, b, r)), bool(gelu))
    assert_agrees(linear(x, weight, b, r, bool(gelu), configuration=SMALL), expected)
    assert_agrees(torch_linear(x, weight, b, r, bool(gelu)), expected)

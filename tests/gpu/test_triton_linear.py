"""Linear layers on a GPU: our kernel, and torch's product with our epilogue."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from agreement import DEVICE, TYPES, assert_agrees, normal

from megaseg.kernels import reference
from megaseg.kernels.triton import linear as module
from megaseg.kernels.triton.linear import linear, torch_linear

# Several tiles each way, an inner loop that ends in a tail.
SMALL = {"ROWS": 64, "COLUMNS": 64, "INNER": 16, "GROUP": 2, "num_warps": 4}


@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
@pytest.mark.parametrize(("rows", "inner", "outer"), [(1, 1, 1), (50, 37, 70), (1, 8, 8), (133, 56, 200)])
@pytest.mark.parametrize(("bias", "residual", "gelu"), [(1, 1, 1), (1, 0, 0), (0, 1, 0), (1, 0, 1), (0, 0, 1)])
def test_linear(dtype, rows, inner, outer, bias, residual, gelu, rng: np.random.Generator) -> None:
    x, weight = (
        normal(rng, rows, inner + 8, dtype=dtype)[:, :inner],
        normal(rng, outer, inner, dtype=dtype) / inner**0.5,
    )
    b = normal(rng, outer) if bias else None
    r = normal(rng, rows, outer + 3, dtype=dtype)[:, :outer] if residual else None
    expected = reference.linear(*(t if t is None else t.double().cpu() for t in (x, weight, b, r)), bool(gelu))
    assert_agrees(linear(x, weight, b, r, bool(gelu), configuration=SMALL), expected)
    assert_agrees(torch_linear(x, weight, b, r, bool(gelu)), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
def test_the_kernel_runs_for_rows_of_whole_16_bytes(dtype, rng: np.random.Generator, monkeypatch) -> None:
    """And for no others; an odd number of multiprocessors takes all tiles in turns."""
    monkeypatch.setattr(module, "torch_linear", lambda *_: None)
    monkeypatch.setattr(module, "_multiprocessors", lambda _: 3)
    x, weight = normal(rng, 300, 40, dtype=dtype), normal(rng, 136, 40, dtype=dtype) / 40**0.5
    bias = normal(rng, 136)
    expected = reference.linear(*(t.double().cpu() for t in (x, weight, bias)), None, True)
    assert_agrees(module.linear(x, weight, bias, None, True, configuration=SMALL), expected)
    for odd in (x[:, :39], x[:, 1:33], normal(rng, 300, 41, dtype=dtype)[:, :40], x.float()):
        assert module.linear(odd, weight[:, : odd.shape[1]].contiguous().to(odd.dtype), bias, None, True) is None
    assert module.linear(x, weight[:135], bias[:135], None, True) is None
    assert module.linear(x, weight, bias, normal(rng, 300, 136, dtype=dtype), True) is None


def test_gelu_of_what_is_far_or_not_finite() -> None:
    x = torch.tensor([[-1e30, -12.5, -5.5, -0.0, 1e-30, 5.5, 40.0, 1e30, torch.inf, torch.nan]], device=DEVICE)
    got = module.bias_gelu(x.clone(), None)[0].cpu()
    exact = torch.nn.functional.gelu(x[0].double().cpu())
    assert torch.allclose(got[:8].double(), exact[:8], rtol=2e-5, atol=4e-7)
    assert got[8] == torch.inf
    assert got[9].isnan()

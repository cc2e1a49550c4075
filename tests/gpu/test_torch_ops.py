"""The ops as torch sees them: schemas, shapes without data, and torch.compile around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from agreement import DEVICE, normal
from torch import Tensor

from megaseg.errors import UnsupportedError
from megaseg.kernels import torch_ops  # noqa: F401  (registers them)
from megaseg.kernels.banded_estep import reach

ops = torch.ops.megaseg
Arguments = tuple[Any, ...]


def _int32(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.int32, device=DEVICE)


def attention(rng: np.random.Generator, dtype: torch.dtype) -> Arguments:
    q, kv = normal(rng, 2 * 3 + 9, 32, dtype=dtype), normal(rng, 2 * 3 + 9, 64, dtype=dtype)
    return q, kv[:, :32], kv[:, 32:], _int32(0, 4, 9), 2, 3, 5


def window_attention(rng: np.random.Generator, dtype: torch.dtype) -> Arguments:
    row = torch.from_numpy(rng.integers(0, 6, (2, 5), dtype=np.int32)).to(DEVICE)
    tables = (normal(rng, *shape) for shape in ((5, 96), (96,), (2, 96)))
    return normal(rng, 6, 96, dtype=dtype), row, *tables, normal(rng, 2, 5).abs(), 2


def query_attention(rng: np.random.Generator, dtype: torch.dtype) -> Arguments:
    return (*(normal(rng, 3, n, 40, dtype=dtype) for n in (2, 4, 5)), 0.25)


def residual_layer_norm(rng: np.random.Generator, dtype: torch.dtype) -> Arguments:
    x, residual = normal(rng, 5, 24, dtype=dtype), normal(rng, 5, 24, dtype=dtype)
    return x, None, residual, normal(rng, 24), normal(rng, 24), 1e-5


def linear(rng: np.random.Generator, dtype: torch.dtype) -> Arguments:
    return normal(rng, 5, 24, dtype=dtype), normal(rng, 7, 24, dtype=dtype), normal(rng, 7), None, True


def embed(rng: np.random.Generator, dtype: torch.dtype) -> Arguments:
    weights = (normal(rng, *shape) for shape in ((3, 24), (2, 24), (24,), (24,), (2, 24)))
    return normal(rng, 4, 24, dtype=dtype), _int32(0, 1, 3), _int32(0, 1, 2), _int32(0, 0, 1), *weights, 1, 1e-5


def banded_estep(rng: np.random.Generator, dtype: torch.dtype) -> Arguments:
    shots, sentences = normal(rng, 12, 16, dtype=dtype), normal(rng, 13, 16, dtype=dtype)
    reaches = torch.tensor([reach(5, 9, 0.3), reach(7, 4, 0.3)], device=DEVICE)
    out = torch.tensor([0, 10, 17], device=DEVICE)
    return shots, sentences, _int32(0, 5, 12), _int32(0, 9, 13), reaches, out, 7, 9, 17, 0.1


def scene_pairs(rng: np.random.Generator, dtype: torch.dtype) -> Arguments:
    free = torch.ones(70, dtype=torch.uint8, device=DEVICE)
    return normal(rng, 12, 16, dtype=dtype), normal(rng, 70, 16, dtype=dtype), _int32(0, 3, 11), free, 0.1


CASES: dict[str, Callable[[np.random.Generator, torch.dtype], Arguments]] = {
    "bottleneck_attention": attention,
    "window_attention": window_attention,
    "query_attention": query_attention,
    "residual_layer_norm": residual_layer_norm,
    "linear": linear,
    "embed": embed,
    "banded_estep": banded_estep,
    "scene_pairs": scene_pairs,
}


@pytest.mark.parametrize("op", CASES)
def test_opcheck(op: str, rng: np.random.Generator) -> None:
    torch.library.opcheck(getattr(ops, op).default, CASES[op](rng, torch.float16))


@pytest.mark.parametrize("op", CASES)
def test_torch_compile_goes_around(op: str, rng: np.random.Generator) -> None:
    arguments = CASES[op](rng, torch.float32)

    def program(*values: Any) -> Any:
        result = getattr(ops, op)(*values)
        first = result[0] if isinstance(result, tuple) else result
        return first * 2

    compiled = torch.compile(program, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(*arguments), program(*arguments))


def test_a_type_without_kernels_is_an_error() -> None:
    x = torch.ones(2, 3, dtype=torch.float64, device=DEVICE)
    with pytest.raises(UnsupportedError, match=f"linear: expected one of cuda float16, .*, got {DEVICE} float64"):
        ops.linear(x, x, None, None, False)

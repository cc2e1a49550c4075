"""A linear layer with bias, residual and GELU in its epilogue; and the epilogue alone, after another's product."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import triton
import triton.language as tl
from torch import Tensor

from megaseg.kernels.triton import configurations

CANDIDATES: dict[str, tuple[Mapping[str, int], ...]] = {
    "": tuple(
        {"ROWS": rows, "COLUMNS": columns, "INNER": 64, "GROUP": 8, "num_warps": warps, "num_stages": stages}
        for rows, columns, warps in ((128, 64, 4), (128, 128, 4), (128, 128, 8), (128, 256, 8))
        for stages in (3, 4)
    )
}


@triton.jit
def _gelu(x):
    return 0.5 * x * (1.0 + tl.erf(x * 0.7071067811865476))


@triton.jit
def _bias_gelu(x, bias, out, rows, size, HAS_BIAS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    inside = (row < rows) & (column < size)
    value = tl.load(x + row * size + column, mask=inside, other=0.0).to(tl.float32)
    if HAS_BIAS:
        value += tl.load(bias + column, mask=column < size, other=0.0).to(tl.float32)
    tl.store(out + row * size + column, _gelu(value).to(out.dtype.element_ty), mask=inside)


def bias_gelu(x: Tensor, bias: Tensor | None) -> Tensor:
    """``gelu(x + bias)`` of contiguous rows (rows, size), in float32 inside, written over x: the exact (erf) GELU."""
    rows, size = x.shape
    grid = (triton.cdiv(rows, 4), triton.cdiv(size, 512))
    own = x if bias is None else bias
    tile = {"ROWS": 4, "COLUMNS": 512, "enable_fp_fusion": True}
    _bias_gelu[grid](x, own, x, rows, size, HAS_BIAS=bias is not None, **tile)
    return x


@triton.jit
def _linear(
    x,  # [rows, inner]
    weight,  # [outer, inner]
    bias,  # [outer]
    residual,  # [rows, outer]
    out,  # [rows, outer]
    rows,
    outer,
    inner,
    x_stride,
    residual_stride,
    HAS_BIAS: tl.constexpr,
    HAS_RESIDUAL: tl.constexpr,
    GELU: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    INNER: tl.constexpr,
    GROUP: tl.constexpr,  # row tiles that share a column of weight tiles in cache
):
    row_tiles, column_tiles = tl.cdiv(rows, ROWS), tl.cdiv(outer, COLUMNS)
    program = tl.program_id(0)
    first = program // (GROUP * column_tiles) * GROUP
    grouped = min(row_tiles - first, GROUP)
    row_tile = first + program % (GROUP * column_tiles) % grouped
    column_tile = program % (GROUP * column_tiles) // grouped
    row = row_tile * ROWS + tl.arange(0, ROWS)
    column = column_tile * COLUMNS + tl.arange(0, COLUMNS)
    k = tl.arange(0, INNER)
    x_at = x + row.to(tl.int64)[:, None] * x_stride + k[None, :]
    weight_at = weight + column.to(tl.int64)[None, :] * inner + k[:, None]
    row_inside, column_inside = (row < rows)[:, None], (column < outer)[None, :]
    sums = tl.zeros((ROWS, COLUMNS), tl.float32)
    for begin in range(0, inner, INNER):
        left = inner - begin
        a = tl.load(x_at, mask=row_inside & (k < left)[None, :], other=0.0)
        b = tl.load(weight_at, mask=column_inside & (k < left)[:, None], other=0.0)
        sums = tl.dot(a, b, sums, input_precision="ieee")
        x_at += INNER
        weight_at += INNER
    inside = row_inside & column_inside
    if HAS_BIAS:
        sums += tl.load(bias + column, mask=column < outer, other=0.0).to(tl.float32)[None, :]
    if HAS_RESIDUAL:
        at = row.to(tl.int64)[:, None] * residual_stride + column[None, :]
        sums += tl.load(residual + at, mask=inside, other=0.0).to(tl.float32)
    if GELU:
        sums = _gelu(sums)
    tl.store(out + row.to(tl.int64)[:, None] * outer + column[None, :], sums.to(out.dtype.element_ty), mask=inside)


def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    gelu: bool,
    *,
    configuration: Mapping[str, int] | None = None,
) -> Tensor:
    """``gelu?(x W^T + bias + residual)`` with float32 sums: x (rows, k), W (n, k), bias (n,), residual (rows, n).

    GELU in its exact (erf) form. The result has x's type. Source: supplementary, Table 1a.
    """
    (rows, inner), outer = x.shape, len(weight)
    key = "float32" if x.dtype == torch.float32 else ""
    chosen = dict(configuration or configurations.configuration("linear", configurations.capability(), key))
    out = torch.empty((rows, outer), dtype=x.dtype, device=x.device)
    _linear[(triton.cdiv(rows, chosen["ROWS"]) * triton.cdiv(outer, chosen["COLUMNS"]),)](
        x,
        weight,
        weight if bias is None else bias,
        x if residual is None else residual,
        out,
        rows,
        outer,
        inner,
        x.stride(0),
        0 if residual is None else residual.stride(0),
        HAS_BIAS=bias is not None,
        HAS_RESIDUAL=residual is not None,
        GELU=gelu,
        enable_fp_fusion=True,
        **chosen,
    )
    return out


def torch_linear(x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None, gelu: bool) -> Tensor:
    """As ``linear``, the product by torch (cuBLAS) and the epilogue of a GELU by a kernel of ours."""
    if gelu:
        out = torch.mm(x, weight.t()) if residual is None else torch.addmm(residual, x, weight.t())
        return bias_gelu(out, bias)
    out = torch.nn.functional.linear(x, weight, None if bias is None else bias.to(x.dtype))
    return out if residual is None else out + residual

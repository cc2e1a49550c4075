"""A linear layer with bias and GELU in its epilogue; and the epilogue alone, after another's product."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from megaseg.kernels.triton import configurations

CANDIDATES: dict[str, tuple[Mapping[str, int], ...]] = {
    "": tuple(
        {"ROWS": rows, "COLUMNS": columns, "INNER": 64, "GROUP": 8, "num_warps": 8, "num_stages": stages}
        for rows, columns, stages in ((128, 256, 3), (128, 256, 4), (128, 128, 4), (128, 128, 3), (256, 128, 3))
    )
}


@triton.jit
def _gelu(x):
    # x Phi(x) = max(x, 0) - t Q(t), t = |x|, with Q(t) = erfc(t / sqrt 2) / 2 = 2^S(t) and S a minimax polynomial for
    # t up to 6: off by less than 4e-7 and 2e-5 of the value, without a division. Past 12 the product is zero anyway.
    magnitude = tl.abs(x)
    t = tl.minimum(magnitude, 12.0)
    s = 3.5217516e-5 * t - 7.8269135e-4
    s = s * t + 8.1006745e-3
    s = s * t - 5.3389449e-2
    s = s * t - 4.5884275e-1
    s = s * t - 1.1511558
    s = s * t - 1.0
    return 0.5 * (x + magnitude) - t * tl.exp2(s)


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
def _half(sums, bias, out, row, column, outer, HAS_BIAS: tl.constexpr, GELU: tl.constexpr, COLUMNS: tl.constexpr):
    """Bias, GELU and the store of a tile's half."""
    if HAS_BIAS:
        at = column + tl.arange(0, COLUMNS)
        sums += tl.load(bias + at, mask=at < outer, other=0.0).to(tl.float32)[None, :]
    if GELU:
        sums = _gelu(sums)
    out.store([row, column], sums.to(out.dtype))


@triton.jit
def _linear(
    x,  # descriptor of [rows, inner]
    weight,  # descriptor of [outer, inner]
    bias,  # [outer]
    out,  # descriptor of [rows, outer], blocks of half a tile
    rows,
    outer,
    inner,
    HAS_BIAS: tl.constexpr,
    GELU: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    INNER: tl.constexpr,
    GROUP: tl.constexpr,  # row tiles that share a column of weight tiles in cache
):
    row_tiles, column_tiles = tl.cdiv(rows, ROWS), tl.cdiv(outer, COLUMNS)
    # One program a multiprocessor goes on to its next tile while the last one's results are stored.
    for tile in tl.range(tl.program_id(0), row_tiles * column_tiles, tl.num_programs(0), flatten=True):
        first = tile // (GROUP * column_tiles) * GROUP
        grouped = min(row_tiles - first, GROUP)
        row = (first + tile % (GROUP * column_tiles) % grouped) * ROWS
        column = tile % (GROUP * column_tiles) // grouped * COLUMNS
        sums = tl.zeros((ROWS, COLUMNS), tl.float32)
        for begin in range(0, inner, INNER):
            sums = tl.dot(x.load([row, begin]), weight.load([column, begin]).T, sums)
        # In halves, so that the epilogue's registers fit beside the sums.
        left, right = tl.split(tl.permute(tl.reshape(sums, (ROWS, 2, COLUMNS // 2)), (0, 2, 1)))
        _half(left, bias, out, row, column, outer, HAS_BIAS, GELU, COLUMNS // 2)
        _half(right, bias, out, row, column + COLUMNS // 2, outer, HAS_BIAS, GELU, COLUMNS // 2)


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

    GELU in its exact (erf) form. The result has x's type. The kernel is for what the bulk copy engine reads: half types
    in rows that start at 16 bytes, without a residual; ``torch_linear`` computes the rest. Source: supplementary,
    Table 1a.
    """
    if residual is not None or not _describable(x, weight):
        return torch_linear(x, weight, bias, residual, gelu)
    (rows, inner), outer = x.shape, len(weight)
    capability = configurations.capability()
    chosen = dict(configuration or configurations.configuration("linear", capability, "gelu" if gelu else ""))
    columns = chosen["COLUMNS"] = max(32, min(chosen["COLUMNS"], triton.next_power_of_2(outer)))
    out = torch.empty((rows, outer), dtype=x.dtype, device=x.device)
    tiles = triton.cdiv(rows, chosen["ROWS"]) * triton.cdiv(outer, columns)
    _linear[(min(tiles, _multiprocessors(x.device)),)](
        TensorDescriptor.from_tensor(x, [chosen["ROWS"], chosen["INNER"]]),
        TensorDescriptor.from_tensor(weight, [columns, chosen["INNER"]]),
        weight if bias is None else bias,
        TensorDescriptor.from_tensor(out, [chosen["ROWS"], columns // 2]),
        rows,
        outer,
        inner,
        HAS_BIAS=bias is not None,
        GELU=gelu,
        enable_fp_fusion=True,
        **chosen,
    )
    return out


def _describable(x: Tensor, weight: Tensor) -> bool:
    """Whether descriptors take the operands: half types, rows of whole 16 bytes that start at such an address."""
    sizes = (x.shape[1], len(weight), x.stride(0))
    aligned = all(tensor.data_ptr() % 16 == 0 for tensor in (x, weight) if tensor.device.type != "meta")
    return x.element_size() == 2 and len(x) > 0 and all(size % 8 == 0 for size in sizes) and aligned


@functools.cache
def _multiprocessors(device: torch.device) -> int:
    return int(torch.cuda.get_device_properties(device).multi_processor_count) if device.type == "cuda" else 132


def torch_linear(x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None, gelu: bool) -> Tensor:
    """As ``linear``, the product by torch (cuBLAS) and the epilogue of a GELU by a kernel of ours."""
    if gelu:
        out = torch.mm(x, weight.t()) if residual is None else torch.addmm(residual, x, weight.t())
        return bias_gelu(out, bias)
    out = torch.nn.functional.linear(x, weight, None if bias is None else bias.to(x.dtype))
    return out if residual is None else out + residual

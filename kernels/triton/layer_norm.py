"""What follows a product in an encoder layer: bias, residual and layer normalisation in one pass over the rows."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import triton
import triton.language as tl
from torch import Tensor

from megaseg.kernels.triton import configurations

# VALUES of a program, as powers of two: so many rows at once.
CANDIDATES: dict[str, tuple[Mapping[str, int], ...]] = {
    "": tuple(
        {"VALUES": values, "num_warps": warps}
        for values, warps in ((4096, 4), (1024, 1), (2048, 2), (2048, 1), (1024, 2), (2048, 4), (4096, 8), (8192, 8))
    )
}


@triton.jit
def normal_parts(value, within, size, eps):
    """Rows less their mean, and 1 / sqrt(variance + eps), NaN where the variance leaves the range of float32.

    In two steps, so that a row far from zero keeps its digits and a constant one becomes zeros.
    """
    centred = tl.where(within, value - tl.sum(value, axis=1, keep_dims=True) / size, 0.0)
    centred = tl.where(within, centred - tl.sum(centred, axis=1, keep_dims=True) / size, 0.0)
    variance = tl.sum(centred * centred, axis=1, keep_dims=True) / size
    return centred, tl.where(variance < float("inf"), tl.rsqrt(variance + eps), float("nan"))


@triton.jit
def _residual_layer_norm(
    x,  # [rows, size]
    bias,  # [size] float32
    residual,  # [rows, size]
    gamma,  # [size] float32
    beta,  # [size] float32
    out,  # [rows, size]
    rows,
    size,
    x_stride,
    residual_stride,
    eps,
    HAS_BIAS: tl.constexpr,
    HAS_RESIDUAL: tl.constexpr,
    ROWS: tl.constexpr,
    SIZE: tl.constexpr,  # the power of two above size
):
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
    column = tl.arange(0, SIZE)[None, :]
    within = column < size
    inside = (row < rows) & within
    value = tl.load(x + row * x_stride + column, mask=inside, other=0.0).to(tl.float32)
    if HAS_BIAS:
        value += tl.load(bias + column, mask=within, other=0.0)
    if HAS_RESIDUAL:
        value += tl.load(residual + row * residual_stride + column, mask=inside, other=0.0).to(tl.float32)
    centred, inverse = normal_parts(value, within, size, eps)
    scale = tl.load(gamma + column, mask=within, other=0.0)
    shift = tl.load(beta + column, mask=within, other=0.0)
    tl.store(out + row * size + column, (centred * inverse * scale + shift).to(out.dtype.element_ty), mask=inside)


def rows_a_program(size: int) -> int:
    """Rows whose values fill the registers of four warps: 4,096 values, as powers of two."""
    return max(1, 4096 // int(triton.next_power_of_2(size)))


def residual_layer_norm(
    x: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    gamma: Tensor,
    beta: Tensor,
    eps: float,
    *,
    configuration: Mapping[str, int] | None = None,
) -> Tensor:
    """``LayerNorm(x + bias + residual)`` of rows (rows, size), in float32 inside; the result has x's type.

    bias, gamma, beta (size,) float32. Rows may be strided. Source: supplementary, Table 1a (post-norm layers).
    """
    rows, size = x.shape
    out = torch.empty((rows, size), dtype=x.dtype, device=x.device)
    chosen = dict(configuration or configurations.configuration("residual_layer_norm", configurations.capability()))
    tile = max(1, chosen.pop("VALUES") // int(triton.next_power_of_2(size)))
    _residual_layer_norm[(triton.cdiv(rows, tile),)](
        x,
        gamma if bias is None else bias,
        x if residual is None else residual,
        gamma,
        beta,
        out,
        rows,
        size,
        x.stride(0),
        0 if residual is None else residual.stride(0),
        eps,
        HAS_BIAS=bias is not None,
        HAS_RESIDUAL=residual is not None,
        ROWS=tile,
        SIZE=triton.next_power_of_2(size),
        enable_fp_fusion=True,
        **chosen,
    )
    return out

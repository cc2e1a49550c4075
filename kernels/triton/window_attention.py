"""The first layer's attention from per-shot and per-position tables: queries, keys and values are never stored."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import triton
import triton.language as tl
from torch import Tensor

from megaseg.kernels.triton import configurations

CANDIDATES: dict[str, tuple[Mapping[str, int], ...]] = {
    "": tuple(
        {"WINDOWS": windows, "num_warps": warps, "num_stages": 1}
        for windows, warps in ((4, 4), (1, 4), (8, 4), (4, 2), (1, 2), (8, 2))
    )
}


@triton.jit
def _tile(
    shot,
    position,
    shift,
    bottleneck,
    token,
    row,
    inverse,
    known,
    is_latent,
    column,
    shot_stride,
    width,
    each,
    SIZE: tl.constexpr,
):
    """One head's queries, keys or values of a window's tokens, in the compute type; ``column`` chooses which."""
    inside = column < SIZE
    # A bottleneck token's row is a table's row as it is: shot and shift are zero there, the inverse is one.
    table = tl.where(token < each, bottleneck + token * width, position + (token - each) * width)
    latent = is_latent[:, None] & inside[None, :]
    value = tl.load(table[:, None] + column[None, :], mask=known[:, None] & inside[None, :], other=0.0)
    value += tl.load(shot + row[:, None] * shot_stride + column[None, :], mask=latent, other=0.0).to(tl.float32)
    moved = tl.where(latent, tl.load(shift + column, mask=inside, other=0.0)[None, :], 0.0)
    return (value * inverse[:, None] + moved).to(shot.dtype.element_ty)


@triton.jit
def _window_attention(
    shot,  # [shots, 3 * heads * SIZE]
    row,  # [windows, length] int32
    position,  # [length, 3 * heads * SIZE] float32
    shift,  # [3 * heads * SIZE] float32
    bottleneck,  # [each, 3 * heads * SIZE] float32
    inverse_std,  # [windows, length] float32
    out,  # [windows * (each + length), heads * SIZE]
    windows,
    length,
    each,
    groups,  # of WINDOWS windows
    heads,
    shot_stride,
    scale,  # log2(e) / sqrt(SIZE)
    SIZE: tl.constexpr,
    COLUMNS: tl.constexpr,  # the power of two above SIZE
    TOKENS: tl.constexpr,  # the power of two above each + length
    WINDOWS: tl.constexpr,
):
    # Neighbouring programs have the same head, whose rows of the tables stay in cache.
    head, group = tl.program_id(0) // groups, tl.program_id(0) % groups
    size = heads * SIZE
    width = 3 * size
    token = tl.arange(0, TOKENS)
    known = token < each + length
    is_latent = (token >= each) & known
    column = tl.arange(0, COLUMNS)
    for window in range(group * WINDOWS, min(group * WINDOWS + WINDOWS, windows)):
        at = window * length + token - each
        source = tl.load(row + at, mask=is_latent, other=0).to(tl.int64)
        inverse = tl.load(inverse_std + at, mask=is_latent, other=1.0)
        first = head * SIZE
        queries = _tile(
            shot + first, position + first, shift + first, bottleneck + first,
            token, source, inverse, known, is_latent, column, shot_stride, width, each, SIZE
        )  # fmt: skip
        first += size
        keys = _tile(
            shot + first, position + first, shift + first, bottleneck + first,
            token, source, inverse, known, is_latent, column, shot_stride, width, each, SIZE
        )  # fmt: skip
        scores = tl.dot(queries, tl.trans(keys), input_precision="tf32x3") * scale
        scores = tl.where(known[None, :], scores, float("-inf"))
        weights = tl.exp2(scores - tl.max(scores, axis=1, keep_dims=True))
        total = tl.sum(weights, axis=1, keep_dims=True)
        first += size
        values = _tile(
            shot + first, position + first, shift + first, bottleneck + first,
            token, source, inverse, known, is_latent, column, shot_stride, width, each, SIZE
        )  # fmt: skip
        sums = tl.dot(weights.to(values.dtype), values, input_precision="tf32x3") / total
        to = tl.where(token < each, window * each + token, windows * each + at).to(tl.int64)
        inside = known[:, None] & (column < SIZE)[None, :]
        tl.store(out + to[:, None] * size + head * SIZE + column[None, :], sums.to(out.dtype.element_ty), mask=inside)


def window_attention(
    shot: Tensor,
    row: Tensor,
    position: Tensor,
    shift: Tensor,
    bottleneck: Tensor,
    inverse_std: Tensor,
    heads: int,
    *,
    configuration: Mapping[str, int] | None = None,
) -> Tensor:
    """Self-attention of windows whose latents' QKV is ``(shot[row_wj] + position_j) * inverse_std_wj + shift``.

    shot (shots, 3 C) in the compute type, its rows may be strided; row (windows, L) int32; float32: position (L, 3 C),
    shift (3 C,), bottleneck (L_n, 3 C) the bottleneck tokens' own QKV, inverse_std (windows, L). Result
    (windows * (L_n + L), C) in shot's type, all bottleneck tokens first. Queries, keys and values are formed in float32
    and rounded to the compute type. Source: LayerNorm is affine in its row once sigma is known.
    """
    (windows, length), each = row.shape, len(bottleneck)
    size = shot.shape[1] // 3 // heads
    key = "float32" if shot.dtype == torch.float32 else ""
    chosen = dict(configuration or configurations.configuration("window_attention", configurations.capability(), key))
    groups = triton.cdiv(windows, chosen["WINDOWS"])
    out = torch.empty((windows * (each + length), heads * size), dtype=shot.dtype, device=shot.device)
    _window_attention[(groups * heads,)](
        shot,
        row,
        position,
        shift,
        bottleneck,
        inverse_std,
        out,
        windows,
        length,
        each,
        groups,
        heads,
        shot.stride(0),
        math.log2(math.e) / math.sqrt(size),
        SIZE=size,
        COLUMNS=max(16, triton.next_power_of_2(size)),
        TOKENS=max(16, triton.next_power_of_2(each + length)),
        enable_fp_fusion=True,
        **chosen,
    )
    return out

"""What the choice of scene pairs asks of a GPU: the best free column of rows, and how many scores are above a bound."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import triton
import triton.language as tl
from torch import Tensor

from megaseg.kernels.triton import configurations

BLOCK = 64  # columns that have a best one together
CANDIDATES: dict[str, tuple[Mapping[str, int], ...]] = {
    "": tuple(
        {"ROWS": rows, "INNER": inner, "num_warps": warps, "num_stages": stages}
        for rows, inner, warps, stages in ((128, 64, 8, 4), (128, 64, 8, 3), (64, 64, 4, 4), (64, 128, 4, 3))
    )
}


@triton.jit
def _scene_pairs(
    u,  # [., size]
    v,  # [columns, size]
    row,  # [rows] int32, of u
    free,  # [columns] uint8
    score,  # [rows, blocks] float32
    column,  # [rows, blocks] int32
    above,  # [rows, blocks] int32
    rows,
    columns,
    size,
    u_stride,
    v_stride,
    bound,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    INNER: tl.constexpr,
):
    block, blocks = tl.program_id(1), tl.num_programs(1)
    i, j = tl.program_id(0) * ROWS + tl.arange(0, ROWS), block * COLUMNS + tl.arange(0, COLUMNS)
    inner, row_inside, column_inside = tl.arange(0, INNER), i < rows, j < columns
    at = tl.load(row + i, mask=row_inside, other=0).to(tl.int64)
    u_at = u + at[:, None] * u_stride + inner[None, :]
    v_at = v + j.to(tl.int64)[None, :] * v_stride + inner[:, None]
    product = tl.zeros((ROWS, COLUMNS), tl.float32)
    for begin in range(0, size, INNER):
        within = inner < size - begin
        x = tl.load(u_at + begin, mask=row_inside[:, None] & within[None, :], other=0.0)
        y = tl.load(v_at + begin, mask=column_inside[None, :] & within[:, None], other=0.0)
        product = tl.dot(x, y, product, input_precision="ieee")
    # What is not finite is infinite: it comes first, and the caller sees it.
    product = tl.where(tl.abs(product) < float("inf"), product, float("inf"))
    higher = (product > bound) & column_inside[None, :]
    is_free = tl.load(free + j, mask=column_inside, other=0) > 0
    product = tl.where(is_free[None, :], product, float("-inf"))
    best = tl.max(product, axis=1)
    first = tl.min(tl.where((product == best[:, None]) & is_free[None, :], j[None, :], columns), axis=1)
    to = i * blocks + block
    tl.store(score + to, best, mask=row_inside)
    tl.store(column + to, first, mask=row_inside)
    tl.store(above + to, tl.sum(higher.to(tl.int32), axis=1), mask=row_inside)


def scene_pairs(
    u: Tensor, v: Tensor, row: Tensor, free: Tensor, bound: float, *, configuration: Mapping[str, int] | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Of rows ``row`` (rows,) int32 of u and each block of 64 rows of v, their columns: what of ``u_i . v_j`` is best.

    u (M, C) and v (N, C) of one type, rows may be strided; free (N,) uint8. Results (rows, blocks): the highest score
    of the free columns, float32, -infinity where there is none and infinity where one is not finite; the first column
    that has it, N where there is none, int32; and how many scores of all columns are above ``bound``, int32.
    """
    key = "float32" if u.dtype == torch.float32 else ""
    chosen = dict(configuration or configurations.configuration("scene_pairs", configurations.capability(), key))
    blocks = triton.cdiv(len(v), BLOCK)
    score = torch.empty(len(row), blocks, device=u.device)
    column, above = (torch.empty(len(row), blocks, dtype=torch.int32, device=u.device) for _ in range(2))
    _scene_pairs[(triton.cdiv(len(row), chosen["ROWS"]), blocks)](
        u,
        v,
        row,
        free,
        score,
        column,
        above,
        len(row),
        len(v),
        u.shape[1],
        u.stride(0),
        v.stride(0),
        bound,
        COLUMNS=BLOCK,
        enable_fp_fusion=True,
        **chosen,
    )
    return score, column, above

"""Attention of one query a window, with the key and value projections folded around it."""

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
        {"COLUMNS": columns, "num_warps": warps, "num_stages": stages}
        for columns, warps, stages in (
            *((128, 4, 2), (128, 4, 3), (128, 2, 2), (64, 2, 2), (64, 2, 3), (64, 4, 3), (256, 4, 2), (256, 4, 1)),
        )
    )
}


@triton.jit
def _query_attention(
    query,  # [windows, heads, size]
    bottleneck_rows,  # [windows, bottlenecks, size]
    latent_rows,  # [windows, latents, size]
    out,  # [windows, heads, size]
    heads,
    bottlenecks,
    latents,
    size,
    query_stride,  # of windows and of rows
    query_row,
    bottleneck_stride,
    bottleneck_row,
    latent_stride,
    latent_row,
    scale,  # times log2(e)
    HEADS: tl.constexpr,  # the power of two above heads
    TOKENS: tl.constexpr,  # the power of two above bottlenecks + latents
    COLUMNS: tl.constexpr,
):
    window = tl.program_id(0).to(tl.int64)
    head, token, column = tl.arange(0, HEADS), tl.arange(0, TOKENS), tl.arange(0, COLUMNS)
    own = token < bottlenecks
    # Two addresses for a token, one load: of a bottleneck row, or of a latent row.
    bottleneck_at = bottleneck_rows + window * bottleneck_stride + token * bottleneck_row
    latent_at = latent_rows + window * latent_stride + (token - bottlenecks) * latent_row
    token_at = tl.where(own, bottleneck_at, latent_at)
    token_inside = (token < bottlenecks + latents)[:, None]
    query_at = query + window * query_stride + head * query_row
    head_inside = (head < heads)[:, None]
    scores = tl.zeros((HEADS, TOKENS), tl.float32)
    for begin in range(0, size, COLUMNS):
        at = begin + column[None, :]
        queries = tl.load(query_at[:, None] + at, mask=head_inside & (at < size), other=0.0)
        tokens = tl.load(token_at[:, None] + at, mask=token_inside & (at < size), other=0.0)
        scores = tl.dot(queries.to(tokens.dtype), tl.trans(tokens), scores, input_precision="tf32x3")
    scores = tl.where((token < bottlenecks + latents)[None, :], scores * scale, float("-inf"))
    weights = tl.exp2(scores - tl.max(scores, axis=1, keep_dims=True))
    total = tl.sum(weights, axis=1, keep_dims=True)
    weights = weights.to(latent_rows.dtype.element_ty)
    out_at = out + window * heads * size + head * size
    for begin in range(0, size, COLUMNS):
        at = begin + column[None, :]
        tokens = tl.load(token_at[:, None] + at, mask=token_inside & (at < size), other=0.0)
        sums = tl.dot(weights, tokens, input_precision="tf32x3") / total
        tl.store(out_at[:, None] + at, sums.to(out.dtype.element_ty), mask=head_inside & (at < size))


def query_attention(
    query: Tensor,
    bottleneck_rows: Tensor,
    latent_rows: Tensor,
    scale: float,
    *,
    configuration: Mapping[str, int] | None = None,
) -> Tensor:
    """``softmax_t(scale * query_h . token_t)`` times the tokens themselves, for every window and head.

    query (windows, heads, size) holds W_k,h^T q_h, so that keys are never formed; values are projected from the result
    (windows, heads, size), in latent_rows' type. bottleneck_rows (windows, tokens, size) and latent_rows
    (windows, L, size) are the tokens, of one type; all three may be strided but for their last dimension.
    """
    windows, heads, size = query.shape
    bottlenecks, latents = bottleneck_rows.shape[1], latent_rows.shape[1]
    key = "float32" if latent_rows.dtype == torch.float32 else ""
    chosen = dict(configuration or configurations.configuration("query_attention", configurations.capability(), key))
    out = torch.empty((windows, heads, size), dtype=latent_rows.dtype, device=query.device)
    _query_attention[(windows,)](
        query,
        bottleneck_rows,
        latent_rows,
        out,
        heads,
        bottlenecks,
        latents,
        size,
        *query.stride()[:2],
        *bottleneck_rows.stride()[:2],
        *latent_rows.stride()[:2],
        scale * math.log2(math.e),
        HEADS=max(16, triton.next_power_of_2(heads)),
        TOKENS=max(16, triton.next_power_of_2(bottlenecks + latents)),
        enable_fp_fusion=True,
        **chosen,
    )
    return out

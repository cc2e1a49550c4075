"""Attention over bottleneck tokens and latents, both read where they lie (supplementary, Table 1a)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import triton
import triton.language as tl
from torch import Tensor

from megaseg.kernels.triton import configurations

# "short": all tokens of a sequence in one tile, whose side is computed. "long": tiles of QUERIES by KEYS.
CANDIDATES: dict[str, tuple[Mapping[str, int], ...]] = {
    "short": tuple({"num_warps": warps, "num_stages": 1} for warps in (1, 2, 4)),
    "long": tuple(
        {"QUERIES": queries, "KEYS": keys, "num_warps": warps, "num_stages": stages}
        for queries, keys, warps, stages in (
            *((128, 64, 4, 3), (128, 64, 4, 2), (64, 128, 4, 2), (128, 128, 8, 2), (64, 64, 4, 2), (64, 64, 4, 3)),
            *((128, 64, 8, 2), (256, 64, 8, 2), (128, 32, 4, 3), (64, 128, 4, 3), (128, 128, 8, 3), (64, 64, 8, 2)),
        )
    ),
}
SHORT = 32  # tokens: the longest sequence that is one tile for sure


@triton.jit
def _rows(x, row, inside, column, stride, SIZE: tl.constexpr, COLUMNS: tl.constexpr, MASKED: tl.constexpr):
    """A tile of rows; masked where it can pass the end of a sequence, or of a head that is no power of two wide."""
    at = x + row[:, None] * stride + column[None, :]
    if MASKED:
        return tl.load(at, mask=inside[:, None] & (column < SIZE)[None, :], other=0.0)
    if SIZE != COLUMNS:
        return tl.load(at, mask=(column < SIZE)[None, :], other=0.0)
    return tl.load(at)


@triton.jit
def _fold(
    queries,
    k,
    v,
    token,
    tokens,
    bottlenecks,
    first_bottleneck,
    first_latent,
    column,
    k_stride,
    v_stride,
    scale,
    peak,
    total,
    sums,
    SIZE: tl.constexpr,
    COLUMNS: tl.constexpr,
    MASKED: tl.constexpr,
):
    """One tile of keys and values into the running softmax, in powers of two."""
    row = (tl.where(token < bottlenecks, first_bottleneck, first_latent) + token).to(tl.int64)
    inside = token < tokens
    keys = _rows(k, row, inside, column, k_stride, SIZE, COLUMNS, MASKED)
    scores = tl.dot(queries, tl.trans(keys), input_precision="tf32x3")
    if MASKED:
        scores = tl.where(inside[None, :], scores, float("-inf"))
    new_peak = tl.maximum(peak, tl.max(scores, axis=1) * scale)
    weights = tl.exp2(scores * scale - new_peak[:, None])
    kept = tl.exp2(peak - new_peak)
    total = total * kept + tl.sum(weights, axis=1)
    values = _rows(v, row, inside, column, v_stride, SIZE, COLUMNS, MASKED)
    sums = tl.dot(weights.to(values.dtype), values, sums * kept[:, None], input_precision="tf32x3")
    return new_peak, total, sums


@triton.jit
def _bottleneck_attention(
    q,  # [batch * own + latents, heads * SIZE]
    k,  # [batch * bottlenecks + latents, heads * SIZE]
    v,  # as k
    begin,  # [batch + 1] int32: latents before each sequence's
    out,  # as q
    batch,
    heads,
    bottlenecks,
    tiles,  # of queries in the longest sequence
    q_stride,
    k_stride,
    v_stride,
    out_stride,
    scale,  # log2(e) / sqrt(SIZE)
    LATENT_QUERIES: tl.constexpr,
    ONE_TILE: tl.constexpr,  # of keys, whatever the sequence
    SIZE: tl.constexpr,
    COLUMNS: tl.constexpr,  # the power of two above SIZE
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
):
    program = tl.program_id(0)
    tile, head, sequence = program % tiles, program // tiles % heads, program // tiles // heads
    first = tl.load(begin + sequence)
    latents = tl.load(begin + sequence + 1) - first
    own = 0 if LATENT_QUERIES else bottlenecks
    if tile * QUERIES >= own + latents:
        return
    # A sequence's token t is row first_bottleneck + t, and from its first latent on row first_latent + t.
    column = tl.arange(0, COLUMNS)
    token = tile * QUERIES + tl.arange(0, QUERIES)
    row = (tl.where(token < own, sequence * own, batch * own + first - own) + token).to(tl.int64)
    asked = token < own + latents
    queries = _rows(q + head * SIZE, row, asked, column, q_stride, SIZE, COLUMNS, True)

    peak = tl.full((QUERIES,), float("-inf"), tl.float32)  # highest score so far, scaled
    total = tl.zeros((QUERIES,), tl.float32)
    sums = tl.zeros((QUERIES, COLUMNS), tl.float32)
    tokens = bottlenecks + latents
    k += head * SIZE
    v += head * SIZE
    k_own, k_latent = sequence * bottlenecks, batch * bottlenecks + first - bottlenecks
    key = tl.arange(0, KEYS)
    whole = 0 if ONE_TILE else tokens // KEYS * KEYS
    if not ONE_TILE:
        for start in range(0, whole, KEYS):
            peak, total, sums = _fold(
                queries, k, v, start + key, tokens, bottlenecks, k_own, k_latent, column, k_stride, v_stride,
                scale, peak, total, sums, SIZE, COLUMNS, False
            )  # fmt: skip
    if whole < tokens:
        peak, total, sums = _fold(
            queries, k, v, whole + key, tokens, bottlenecks, k_own, k_latent, column, k_stride, v_stride,
            scale, peak, total, sums, SIZE, COLUMNS, True
        )  # fmt: skip
    at = out + head * SIZE + row[:, None] * out_stride + column[None, :]
    result = (sums / total[:, None]).to(out.dtype.element_ty)
    tl.store(at, result, mask=asked[:, None] & (column < SIZE)[None, :])


def bottleneck_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    begin: Tensor,
    heads: int,
    bottlenecks: int,
    longest: int,
    latent_queries: bool = False,
    *,
    configuration: Mapping[str, int] | None = None,
) -> Tensor:
    """``softmax(q k^T / sqrt(d)) v`` per sequence and head, with an online softmax: no matrix of scores is ever whole.

    q, k, v (batch * bottlenecks + latents, heads * d): every sequence's bottleneck tokens first, then its latents
    ``begin[b]`` to ``begin[b + 1]``, (batch + 1,) int32, ``longest`` at most; rows may be strided. With
    ``latent_queries`` q and the result hold no bottleneck tokens. float16, bfloat16 or float32, as the result; scores
    and softmax are float32, and float32 is multiplied as three products of TF32 (off by about 2^-21 of each).
    Source: supplementary, Table 1a; the online softmax of FlashAttention (Dao et al., 2022).
    """
    batch, tokens, size = len(begin) - 1, bottlenecks + longest, q.shape[1] // heads
    columns = max(16, triton.next_power_of_2(size))
    side = max(16, triton.next_power_of_2(tokens))
    chosen = dict(configuration or _configuration(q, tokens, size))
    queries, keys = min(chosen.pop("QUERIES", side), side), min(chosen.pop("KEYS", side), side)
    tiles = triton.cdiv(longest if latent_queries else tokens, queries)
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    _bottleneck_attention[(batch * heads * tiles,)](
        q,
        k,
        v,
        begin,
        out,
        batch,
        heads,
        bottlenecks,
        tiles,
        q.stride(0),
        k.stride(0),
        v.stride(0),
        out.stride(0),
        math.log2(math.e) / math.sqrt(size),
        LATENT_QUERIES=latent_queries,
        ONE_TILE=tokens <= keys,
        SIZE=size,
        COLUMNS=columns,
        QUERIES=queries,
        KEYS=keys,
        enable_fp_fusion=True,
        **chosen,
    )
    return out


def key(dtype: torch.dtype, tokens: int, size: int) -> str:
    """Of the configuration: float32 apart, then sequences that are one tile or not, then the head size."""
    of = "short" if tokens <= SHORT else "long"
    return f"float32.{of}" if dtype == torch.float32 else f"{of}.{max(16, triton.next_power_of_2(size))}"


def _configuration(q: Tensor, tokens: int, size: int) -> dict[str, int]:
    return configurations.configuration("bottleneck_attention", configurations.capability(), key(q.dtype, tokens, size))

"""Tokens before the first encoder layer (supplementary, Table 1a, shot encoder)."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from megaseg.kernels.triton.layer_norm import normal_parts, rows_a_program


@triton.jit
def _embed(
    x,  # [shots, size]
    row,  # [latents] int32
    place,  # [latents] int32
    slot,  # [latents] int32
    position,  # [L, size] float32
    align,  # [L_n, size] float32
    gamma,  # [size] float32
    beta,  # [size] float32
    bottleneck,  # [L_n, size] float32
    tokens,  # [bottlenecks + latents, size]
    inverse_std,  # [latents] float32
    latents,
    bottlenecks,  # of all sequences
    each,  # of one
    size,
    x_stride,
    eps,
    ROWS: tl.constexpr,
    SIZE: tl.constexpr,
):
    token = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
    latent = token - bottlenecks
    is_latent = (latent >= 0) & (latent < latents)
    column = tl.arange(0, SIZE)[None, :]
    within = column < size
    inside = is_latent & within
    source = tl.load(row + latent, mask=is_latent, other=0).to(tl.int64)
    at = tl.load(place + latent, mask=is_latent, other=0).to(tl.int64)
    of = tl.load(slot + latent, mask=is_latent, other=0).to(tl.int64)
    value = tl.load(x + source * x_stride + column, mask=inside, other=0.0).to(tl.float32)
    value += tl.load(position + at * size + column, mask=inside, other=0.0)
    value += tl.load(align + of * size + column, mask=inside, other=0.0)
    centred, inverse = normal_parts(value, within, size, eps)
    tl.store(inverse_std + latent, inverse, mask=is_latent)
    scale = tl.load(gamma + column, mask=within, other=0.0)
    shift = tl.load(beta + column, mask=within, other=0.0)
    is_bottleneck = (token < bottlenecks) & within
    own = tl.load(bottleneck + token % each * size + column, mask=is_bottleneck, other=0.0)
    result = tl.where(is_bottleneck, own, centred * inverse * scale + shift)
    tl.store(tokens + token * size + column, result.to(tokens.dtype.element_ty), mask=is_bottleneck | inside)


def embed(
    x: Tensor,
    row: Tensor,
    place: Tensor,
    slot: Tensor,
    position: Tensor,
    align: Tensor,
    gamma: Tensor,
    beta: Tensor,
    bottleneck: Tensor,
    batch: int,
    eps: float,
) -> tuple[Tensor, Tensor]:
    """Tokens (batch * L_n + latents, size): every sequence's bottleneck tokens, then all latents.

    A latent is ``LayerNorm(x[row] + position[place] + align[slot])``; the second result is its 1 / sqrt(variance + eps)
    (latents,), float32. x (shots, size); row, place, slot (latents,) int32; position (L, size), align and bottleneck
    (L_n, size), gamma and beta (size,) float32. Tokens have x's type.
    """
    size, latents, each = x.shape[1], len(row), len(bottleneck)
    tokens = torch.empty((batch * each + latents, size), dtype=x.dtype, device=x.device)
    inverse_std = torch.empty(latents, dtype=torch.float32, device=x.device)
    tile = rows_a_program(size)
    _embed[(triton.cdiv(len(tokens), tile),)](
        x,
        row,
        place,
        slot,
        position,
        align,
        gamma,
        beta,
        bottleneck,
        tokens,
        inverse_std,
        latents,
        batch * each,
        each,
        size,
        x.stride(0),
        eps,
        ROWS=tile,
        SIZE=triton.next_power_of_2(size),
        enable_fp_fusion=True,
    )
    return tokens, inverse_std

"""The oracle: every op in plain torch or NumPy, in the precision of its arguments. Tests run it in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from megaseg.kernels.scene_pairs import ScenePairs

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, residual: Tensor | None = None, gelu: bool = False
) -> Tensor:
    """As ``megaseg.kernels.linear``."""
    from torch.nn import functional

    out = functional.linear(x, weight, bias)
    if residual is not None:
        out = out + residual
    return functional.gelu(out) if gelu else out


def layer_norm(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> Tensor:
    """As ``megaseg.kernels.layer_norm``."""
    from torch.nn import functional

    return functional.layer_norm(x, gamma.shape, gamma, beta, eps)


def embed(
    x: Tensor,
    row: Tensor,
    place: Tensor,
    slot: Tensor,
    position: Tensor,
    align: Tensor,
    gamma: Tensor,
    beta: Tensor,
    eps: float = 1e-5,
) -> Tensor:
    """As ``megaseg.kernels.embed``."""
    return layer_norm(x[row] + position[place] + align[slot], gamma, beta, eps)


def bottleneck_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    begin: Tensor,
    heads: int,
    bottlenecks: int,
    query_begin: Tensor | None = None,
    latent_queries: bool = False,
) -> Tensor:
    """As ``megaseg.kernels.bottleneck_attention``, one sequence at a time."""
    import torch

    own = 0 if latent_queries else bottlenecks
    batch = len(begin) - 1

    def rows_of(b: int, first: Tensor, tokens: int) -> Tensor:
        latents = torch.arange(int(first[b]), int(first[b + 1])) + batch * tokens
        return torch.cat([torch.arange(b * tokens, (b + 1) * tokens), latents])

    def by_head(x: Tensor) -> Tensor:  # (heads, tokens, d)
        return x.reshape(len(x), heads, x.shape[1] // heads).transpose(0, 1)

    out = torch.zeros_like(q)
    for b in range(batch):
        rows = rows_of(b, begin if query_begin is None else query_begin, own)
        queries, (keys, values) = by_head(q[rows]), (by_head(x[rows_of(b, begin, bottlenecks)]) for x in (k, v))
        weights = torch.softmax(queries @ keys.transpose(1, 2) / queries.shape[-1] ** 0.5, dim=-1)
        out[rows] = (weights @ values).transpose(0, 1).flatten(1)
    return out


def window_attention(
    shot: Tensor,
    row: Tensor,
    position: Tensor,
    shift: Tensor,
    bottleneck: Tensor,
    inverse_std: Tensor,
    heads: int,
    rounded: bool = False,
) -> Tensor:
    """As ``megaseg.kernels.window_attention``; queries, keys and values ``rounded`` to bfloat16 if asked."""
    import torch

    windows, length = row.shape
    latents = (shot[row] + position) * inverse_std[..., None] + shift
    tokens = torch.cat([bottleneck.repeat(windows, 1), latents.flatten(0, 1)])
    tokens = tokens.bfloat16().to(tokens.dtype) if rounded else tokens
    q, k, v = tokens.chunk(3, dim=1)
    return bottleneck_attention(q, k, v, torch.arange(windows + 1) * length, heads, len(bottleneck))


def query_attention(query: Tensor, bottleneck_rows: Tensor, latent_rows: Tensor, scale: float) -> Tensor:
    """As ``megaseg.kernels.query_attention``."""
    import torch

    tokens = torch.cat([bottleneck_rows, latent_rows], dim=1)
    return torch.softmax(scale * query @ tokens.transpose(1, 2), dim=-1) @ tokens


def banded_estep(shots: Tensor, sentences: Tensor, threshold: float, band: float = 0.3) -> Tensor:
    """As ``megaseg.kernels.banded_estep`` for one movie, dense: booleans (L_sh, L_syn)."""
    import torch

    n, m = len(shots), len(sentences)
    offset = (torch.arange(n)[:, None] * m - torch.arange(m) * n).abs()
    return (shots @ sentences.T >= threshold) & (offset < math.ceil(Fraction(str(band)) * n * m))


def scene_pairs(
    us: Sequence[NDArray[Any]], vs: Sequence[NDArray[Any]], *, window: int = 9, share: float = 0.5
) -> list[ScenePairs]:
    """As ``megaseg.kernels.scene_pairs``, dense."""
    return [_scene_pairs(u, v, window, Fraction(str(share))) for u, v in zip(us, vs, strict=True)]


def _scene_pairs(u: NDArray[Any], v: NDArray[Any], window: int, share: Fraction) -> ScenePairs:
    sums = _window_sums(u, window) @ _window_sums(v, window).T  # window^2 times the means, in their order
    flat = sums.ravel()
    count = math.ceil(share * flat.size)
    left = np.flatnonzero(flat >= np.partition(flat, flat.size - count)[flat.size - count])
    left = left[np.argsort(-flat[left], kind="stable")]  # of equal ones row by row
    taken = []
    while left.size:
        taken.append(left[0])
        i, j = np.divmod(left, sums.shape[1])
        left = left[(abs(i - i[0]) >= window) & (abs(j - j[0]) >= window)]
    first = np.stack(np.divmod(taken, sums.shape[1]), axis=1).astype(np.int32)
    return ScenePairs(first, (flat[taken] / window**2).astype(np.float32))


def _window_sums(x: NDArray[Any], window: int) -> NDArray[Any]:
    """Sums of ``window`` neighbouring rows; of bfloat16 (its bits, uint16) as float32, rounded to bfloat16."""
    if x.dtype != np.uint16:
        summed: NDArray[Any] = np.lib.stride_tricks.sliding_window_view(x, window, axis=0).sum(axis=-1)
        return summed
    sums = _window_sums((x.astype(np.uint32) << 16).view(np.float32), window)
    bits = sums.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).view(np.float32)

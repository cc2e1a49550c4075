"""The oracle: every op in plain torch, in the precision of its arguments. Tests run it in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
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


def _windows(shots: int, length: int, windows: int, first: int) -> Tensor:
    import torch

    return (first + torch.arange(windows)[:, None] + torch.arange(length) - length // 2).clamp(0, shots - 1)


def embed(
    x: Tensor,
    position: Tensor,
    align: Tensor,
    gamma: Tensor,
    beta: Tensor,
    windows: int,
    first: int = 0,
    eps: float = 1e-5,
) -> Tensor:
    """As ``megaseg.kernels.embed``."""
    import torch

    length = len(position)
    slots = torch.arange(length) * len(align) // length
    return layer_norm(x[_windows(len(x), length, windows, first)] + position + align[slots], gamma, beta, eps)


def bottleneck_attention(
    q: Tensor, k: Tensor, v: Tensor, batch: int, heads: int, bottlenecks: int, latent_queries: bool = False
) -> Tensor:
    """As ``megaseg.kernels.bottleneck_attention``."""
    import torch

    def by_head(x: Tensor, tokens: int) -> Tensor:  # (batch, heads, tokens + latents, d)
        front, back = x[: batch * tokens], x[batch * tokens :]
        parts = [part.reshape(batch, -1, heads, x.shape[1] // heads) for part in (front, back)]
        return torch.cat(parts, dim=1).transpose(1, 2)

    own = 0 if latent_queries else bottlenecks
    queries, keys, values = by_head(q, own), by_head(k, bottlenecks), by_head(v, bottlenecks)
    weights = torch.softmax(queries @ keys.transpose(2, 3) / queries.shape[-1] ** 0.5, dim=-1)
    out = (weights @ values).transpose(1, 2).flatten(2)
    return torch.cat([out[:, :own].flatten(0, 1), out[:, own:].flatten(0, 1)])


def window_attention(
    shot: Tensor,
    position: Tensor,
    shift: Tensor,
    bottleneck: Tensor,
    inverse_sigma: Tensor,
    heads: int,
    first: int = 0,
) -> Tensor:
    """As ``megaseg.kernels.window_attention``."""
    import torch

    windows, length = inverse_sigma.shape
    latents = (shot[_windows(len(shot), length, windows, first)] + position) * inverse_sigma[..., None] + shift
    tokens = torch.cat([bottleneck.repeat(windows, 1), latents.flatten(0, 1)])
    q, k, v = tokens.chunk(3, dim=1)
    return bottleneck_attention(q, k, v, windows, heads, len(bottleneck))


def query_attention(query: Tensor, bottleneck_rows: Tensor, latent_rows: Tensor, scale: float) -> Tensor:
    """As ``megaseg.kernels.query_attention``."""
    import torch

    tokens = torch.cat([bottleneck_rows, latent_rows], dim=1)
    return torch.softmax(scale * query @ tokens.transpose(1, 2), dim=-1) @ tokens

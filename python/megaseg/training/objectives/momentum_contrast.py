"""Momentum contrast (He et al., CVPR 2020, Eqs. 1 and 2), with negatives that a query may have and others not."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def momentum_contrast(
    queries: Tensor, keys: Tensor, queue: Tensor, allowed: Tensor, temperature: float
) -> Tensor | None:
    """Eq. 1, the mean over queries of -log(exp(q k / t) / (exp(q k / t) + sum_j exp(q k_j / t))).

    A query with no negative adds nothing; None if no query has any.

    Args:
        queries, keys: (n, E) of unit length, row by row a positive pair.
        queue: (K, E) of unit length, the negatives k_j.
        allowed: bool (n, K), which of them each query may have.
        temperature: t.
    """
    kept = allowed.any(1)
    if not kept.any():
        return None
    logits = contrast_logits(queries, keys, queue, allowed, temperature)[kept]
    return (logits.logsumexp(1) - logits[:, 0]).mean()


def contrast_logits(queries: Tensor, keys: Tensor, queue: Tensor, allowed: Tensor, temperature: float) -> Tensor:
    """Logits (n, 1 + K): first of the own key, then of the queue's, -inf where these are not allowed."""
    own = (queries * keys).sum(1, keepdim=True)
    others = (queries @ queue.T).masked_fill(~allowed, -torch.inf)
    return torch.cat([own, others], 1) / temperature


@torch.no_grad()
def follow(keys: nn.Module, queries: nn.Module, momentum: float) -> None:
    """Eq. 2: every parameter of ``keys`` becomes ``momentum`` times its value and the rest of that of ``queries``."""
    for own, other in zip(keys.parameters(), queries.parameters(), strict=True):
        own.lerp_(other, 1 - momentum)

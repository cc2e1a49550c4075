"""InfoNCE between two views of the same shots (Argaw et al. 2023, Eqs. 3, 5 and 6), by cosine similarity S.

Both views have a row a pair, and the other pairs' rows are the negatives. Eqs. 3 and 6 are printed as sums over the
batch's N k shots, Eq. 1 as a mean: the mean is taken here, too (``summed`` gives the sum), or the size of a batch would
weigh the terms of Eq. 7.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from megaseg.training.objectives.masked_prediction import unit


def info_nce(queries: Tensor, keys: Tensor, temperature: float, *, summed: bool = False) -> Tensor | None:
    """Eq. 3, L_{q -> k} = -1/n sum_i log(exp(S(q_i, k_i)/tau) / sum_j exp(S(q_i, k_j)/tau)); rows (n, C).

    None without a pair.
    """
    return _one_way(_similarities(queries, keys, temperature), summed) if len(queries) else None


def symmetric(a: Tensor, b: Tensor, temperature: float, *, summed: bool = False) -> Tensor | None:
    """L_{a -> b} + L_{b -> a}: half of Eq. 5 (video with audio, or with language), and Eq. 6; rows (n, C) each."""
    if not len(a):
        return None
    scores = _similarities(a, b, temperature)
    return _one_way(scores, summed) + _one_way(scores.T, summed)


def _similarities(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    return unit(a) / temperature @ unit(b).T


def _one_way(scores: Tensor, summed: bool) -> Tensor:
    return functional.cross_entropy(scores, torch.arange(len(scores)), reduction="sum" if summed else "mean")

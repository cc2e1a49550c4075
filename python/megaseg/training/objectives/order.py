"""Alignment of a synopsis whose sentences follow each other in the movie: forward and backward passes over scenes."""

from __future__ import annotations

import torch
from torch import Tensor

# Shares of the movie: how far the next sentence usually is, forward and back, and how far from the diagonal.
_AHEAD, _BACK, _DIAGONAL = 0.06, 0.03, 0.12


def ordered_attention(scores: Tensor) -> Tensor:
    """Scores m_ij / tau (scenes, sentences) to a (scenes, sentences), each sentence's distribution over scenes.

    A hidden Markov model whose states are scenes and whose steps are sentences: emissions exp(scores) times a Gaussian
    around the diagonal, steps that fall off exponentially from one sentence's share of the movie. Columns sum to 1; a
    sentence with no evidence of its own lies between its neighbours.
    """
    scenes, sentences = scores.shape
    where = (torch.arange(scenes, dtype=torch.float64) + 0.5) / scenes
    when = (torch.arange(sentences, dtype=torch.float64) + 0.5) / sentences
    emission = scores.double() - 0.5 * ((where[:, None] - when) / _DIAGONAL) ** 2
    emission = (emission - emission.amax(0)).exp().clamp_min(1e-30)
    step = where - where[:, None] - 1 / sentences
    move = torch.where(step >= 0, -step / _AHEAD, step / _BACK).softmax(1)
    forward, backward = [emission[:, 0] / emission[:, 0].sum()], [torch.ones_like(where)]
    for j in range(1, sentences):
        reached = (forward[-1] @ move) * emission[:, j]
        forward.append(reached / reached.sum())
    for j in range(sentences - 1, 0, -1):
        ahead = move @ (backward[-1] * emission[:, j])
        backward.append(ahead / ahead.sum())
    joint = torch.stack(forward, 1) * torch.stack(backward[::-1], 1)
    return (joint / joint.sum(0)).float()

"""Boundary decisions: is this row the last of its scene?"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def weighted_cross_entropy(logits: Tensor, labels: Tensor, positive_weight: float) -> Tensor:
    """Mean cross-entropy in which a boundary weighs ``positive_weight``; logits (rows, 2), labels (rows,) of 0 or 1."""
    return functional.cross_entropy(logits, labels, torch.tensor([1.0, positive_weight]))


def log_odds_cross_entropy(log_odds: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of log-odds (rows,) to labels (rows,) of 0 or 1."""
    return functional.binary_cross_entropy_with_logits(log_odds, labels)

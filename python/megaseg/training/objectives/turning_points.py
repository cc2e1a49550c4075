"""Turning points as distributions over the rows of a synopsis or a movie."""

from __future__ import annotations

from torch import Tensor


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """-sum_i p_in log o_in summed over turning points; logits and targets (rows, 5), softmax over rows."""
    return -(targets * logits.log_softmax(0)).sum()

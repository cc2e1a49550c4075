"""Dropout that a CPU draws fast: eight masks a random number, and none on attention probabilities.

Half of a small transformer's time on a CPU is torch's drawing of dropout masks, and attention with dropout on its
probabilities takes torch's slow path.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ByteDropout(nn.Module):
    """Dropout with the probability rounded to a multiple of 1/256; values that stay are scaled to keep the mean."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.dropped = round(256 * p)  # of 256

    def forward(self, x: Tensor) -> Tensor:
        """Values of any shape; the same in evaluation mode."""
        if not self.training or not self.dropped:
            return x
        numbers = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        drawn = numbers.view(torch.uint8)[: x.numel()].view(x.shape)
        return x * (drawn >= self.dropped).to(x.dtype).mul_(256 / (256 - self.dropped))


def use_byte_dropout(model: nn.Module) -> None:
    """Replace the dropout of a model's layers; attention probabilities are then not dropped."""
    for module in list(model.modules()):
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
        for name, child in module.named_children():
            if isinstance(child, nn.Dropout):
                setattr(module, name, ByteDropout(child.p))

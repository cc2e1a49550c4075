"""Scores of arrangements of shots: how likely is it that an editor put these shots one after the other?"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from megaseg.training.recipes.head.config import HeadConfig
from megaseg.training.recipes.head.protocol import Layers, Standard


class Scorer(nn.Module):
    """A score of each arrangement of ``length`` shots, from its embeddings one after the other and their products.

    The products of neighbours and of the first with the last shot let one linear layer weigh likeness.
    """

    def __init__(self, width: int, length: int, config: HeadConfig) -> None:
        super().__init__()
        self.standard = Standard(width)
        self.layers = Layers((2 * length) * width, 1, config)

    def forward(self, embedded: Tensor) -> Tensor:
        """Embeddings (..., length, E) to scores (...)."""
        h = functional.layer_norm(self.standard(embedded), embedded.shape[-1:])
        products = h * h.roll(-1, dims=-2)
        scores: Tensor = self.layers(torch.cat([h, products], dim=-1).flatten(-2))[..., 0]
        return scores

"""Scores of arrangements of shots: how likely is it that an editor put these shots one after the other?"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from megaseg.errors import CheckpointError
from megaseg.training.recipes.head.config import HeadConfig
from megaseg.training.recipes.head.protocol import Layers, Standard

_GAIN = 4.0  # brings likenesses, from -1 to 1, to a spread near 1


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


class Likeness(nn.Module):
    """A score of each arrangement of ``length`` shots, from nothing but how like its shots are, pair by pair.

    A likeness is a cosine of embeddings, once as they are and once less the mean of all the example's shots, which
    takes away what the candidates share. Blocks of columns, ``config.likeness`` of them, are compared apart. A head of
    so few numbers learns from a few films what one of ``Scorer``'s many columns does not learn from 25, but it cannot
    learn which of two orders is the reverse unless the encoder's embeddings tell.
    """

    def __init__(self, width: int, length: int, config: HeadConfig) -> None:
        super().__init__()
        if width % config.likeness:
            raise CheckpointError(f"likeness: expected a divisor of the embedding's {width}, got {config.likeness}")
        self.standard = _Places(length * width)
        self.parts = config.likeness
        self.pairs = list(itertools.combinations(range(length), 2))
        self.layers = Layers(2 * len(self.pairs) * self.parts, 1, config)

    def forward(self, embedded: Tensor) -> Tensor:
        """Embeddings (..., options, length, E) to scores (..., options)."""
        h = self.standard(embedded).unflatten(-1, (self.parts, -1))
        own = h - h.mean((-4, -3), keepdim=True)
        scores: Tensor = self.layers(_GAIN * torch.cat([self._cosines(h), self._cosines(own)], dim=-1))[..., 0]
        return scores

    def _cosines(self, h: Tensor) -> Tensor:
        """Of every pair and block: h (..., length, parts, E / parts) to (..., pairs x parts)."""
        h = functional.normalize(h, dim=-1, eps=1e-6)
        a, b = (h[..., list(places), :, :] for places in zip(*self.pairs, strict=True))
        return (a * b).sum(-1).flatten(-2)


class _Places(Standard):
    """``Standard`` of every place of an arrangement by itself: an embedding tells its place, too."""

    def fit(self, inputs: Tensor) -> None:
        """Take mean and spread of each place over arrangements (..., length, E)."""
        super().fit(inputs.flatten(-2))

    def forward(self, inputs: Tensor) -> Tensor:
        """Embeddings of the same shape."""
        return super().forward(inputs.flatten(-2)).view_as(inputs)

"""What is trained: a movie encoder, and the numbers that make a probability of a cosine."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from megaseg.engine.model.movie_encoder import MovieEncoderConfig
from megaseg.models.movie_encoder import MovieEncoder
from megaseg.training.dropout import use_byte_dropout
from megaseg.training.objectives.movie_similarity import similarity_loss
from megaseg.training.recipes.movie_similarity.batches import Movies, PairBatch

_SCALE = 5.0  # of the first step: a cosine of 1 is then a probability of 0.99


class MovieSimilarity(nn.Module):
    """A movie encoder with ``scale``, kept positive by its logarithm, and ``offset`` of the logits of pairs."""

    def __init__(self, config: MovieEncoderConfig, share: float = 0.5) -> None:
        """``share`` of the pairs of a batch are similar: what the offset begins with."""
        super().__init__()
        self.encoder = MovieEncoder(config)
        self.log_scale = nn.Parameter(torch.tensor(math.log(_SCALE)))
        self.offset = nn.Parameter(torch.tensor(math.log(share / (1 - share))))
        use_byte_dropout(self.encoder)

    def vectors(self, movies: Movies) -> Tensor:
        """Vectors (movies, E)."""
        return self.encoder.vectors(movies.features, movies.there)

    @torch.no_grad()
    def centre(self, movies: Iterable[Movies]) -> None:
        """Move the mean of the movies' vectors to the origin: means of many shots have much in common.

        Without it all cosines are nearly 1 before the first step.
        """
        self.eval()
        self.encoder.output.bias.sub_(torch.cat([self.vectors(own) for own in movies]).mean(0))

    def loss(self, batch: PairBatch) -> Tensor:
        """Mean cross-entropy of a batch's pairs."""
        vectors = self.vectors(batch.movies)
        return similarity_loss(vectors, batch.pairs, batch.similar, self.log_scale.exp(), self.offset)

    def config(self) -> MovieEncoderConfig:
        """The encoder's config with the trained scale and offset."""
        scale, offset = float(self.log_scale.detach().exp()), float(self.offset.detach())
        return self.encoder.config.replaced(scale=scale, offset=offset)

"""The movie encoder in torch (Chen et al., CVPR 2023): what trains it, and the reference of every backend."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.movie_encoder import MovieEncoderConfig
from megaseg.models.shot_encoders import Projection, layer_norm, loaded, saved, summed


class Block(nn.Module):
    """A residual block of each row by itself."""

    def __init__(self, config: MovieEncoderConfig) -> None:
        super().__init__()
        self.norm = layer_norm(config)
        self.linear1 = nn.Linear(config.hidden_size, config.hidden_size)
        self.linear2 = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, h: Tensor) -> Tensor:
        """Rows (..., C) to rows (..., C)."""
        hidden = self.dropout(functional.gelu(self.linear1(self.norm(h))))
        rows: Tensor = h + self.dropout(self.linear2(hidden))
        return rows


class MovieEncoder(nn.Module):
    """Movies to rows of their shots, and to vectors.

    Raises:
        CheckpointError: from ``MovieEncoderConfig``, for values that do not fit each other.
    """

    def __init__(self, config: MovieEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.modalities = nn.ModuleDict(
            {m.name: Projection(m.feature_size, config.hidden_size) for m in config.modalities}
        )
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.norm = layer_norm(config)
        self.output = nn.Linear(config.hidden_size, config.output_size)

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Features, each (batch, n, D_m), to ``embedding`` (batch, n, C) and ``similarity`` (batch, n, E)."""
        h = summed(self.modalities, features)
        for block in self.blocks:
            h = block(h)
        embedding = self.norm(h)
        return {"embedding": embedding, "similarity": self.output(embedding)}

    def vectors(self, features: Mapping[str, Tensor], there: Tensor | None = None) -> Tensor:
        """A vector (batch, E) a movie: the mean of its shots' rows of ``similarity``.

        ``there`` (batch, n) is False for padding. A movie has at least one shot.
        """
        rows: Tensor = self(features)["similarity"]
        if there is None:
            return rows.mean(1)
        share = there.to(rows.dtype) / there.sum(1, keepdim=True)
        return (rows * share[..., None]).sum(1)


def pair_logits(a: Tensor, b: Tensor, scale: Tensor | float, offset: Tensor | float) -> Tensor:
    """Logits (...) that movies of vectors a and b (..., E) are similar: ``scale * cosine(a, b) + offset``."""
    logits: Tensor = scale * functional.cosine_similarity(a, b, dim=-1) + offset
    return logits


def from_checkpoint(checkpoint: Checkpoint, dtype: torch.dtype = torch.float32) -> MovieEncoder:
    """The model of a checkpoint, in evaluation mode.

    Raises:
        CheckpointError: a model of another family, or a tensor with NaN or Inf.
    """
    return loaded(MovieEncoder, MovieEncoderConfig, checkpoint, dtype)


def to_checkpoint(model: MovieEncoder, metadata: Mapping[str, str] | None = None) -> Checkpoint:
    """The checkpoint of a model, with a copy of its weights; ``scale`` and ``offset`` are those of its config."""
    return saved(model, metadata)

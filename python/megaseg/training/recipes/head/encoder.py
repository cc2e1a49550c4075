"""Encoders of shots in torch, whichever family they are of: a batch of sequences to embeddings."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.config import ModelConfig
from megaseg.engine.model.contextualizer import ContextualizerConfig
from megaseg.engine.model.long_range import LongRangeConfig
from megaseg.errors import CheckpointError
from megaseg.models import contextualizer, long_range
from megaseg.training.recipes.head.films import Films

_SEQUENCES = 256  # embedded at once


class Encoder(nn.Module):
    """An encoder's twin as a module from sequences of joined rows to embeddings."""

    def __init__(self, twin: contextualizer.Contextualizer | long_range.LongRange) -> None:
        super().__init__()
        self.twin = twin

    @property
    def config(self) -> ContextualizerConfig | LongRangeConfig:
        """The encoder's config."""
        return self.twin.config

    @property
    def width(self) -> int:
        """Width E of an embedding."""
        width: int = self.config.embedding_size
        return width

    def forward(self, films: Films, rows: Tensor) -> Tensor:
        """Sequences ``rows`` (batch, length), -1 = padding at the end, to embeddings (batch, length, E)."""
        batch = films.batch(rows, self.config.max_length)
        if isinstance(self.twin, contextualizer.Contextualizer):
            embedded: Tensor = self.twin(batch.features, next(iter(batch.there.values())))
        else:
            embedded = self.twin.embedding(self.twin(batch))
        return embedded.masked_fill((rows < 0)[..., None], 0.0)

    def embed(self, films: Films, rows: Tensor) -> Tensor:
        """Examples ``rows`` (examples, sequences, length) to (examples, sequences, length, E), zeros for padding.

        Sequences that are all padding are not read.
        """
        flat = rows.flatten(0, 1)
        used = (flat >= 0).any(1).nonzero()[:, 0]
        parts = [self(films, flat[chosen]) for chosen in torch.split(used, _SEQUENCES)]
        embedded = torch.zeros(*flat.shape, self.width).index_copy(0, used, torch.cat(parts))
        return embedded.view(*rows.shape, self.width)


def encoder_of(checkpoint: Checkpoint) -> Encoder:
    """The encoder of a checkpoint, in evaluation mode; classes of its own are left out.

    Raises:
        CheckpointError: a model of a family that embeds no shots.
    """
    return Encoder(_twin(without_classes(checkpoint)))


def new_encoder(config: ContextualizerConfig | LongRangeConfig, position_std: float) -> Encoder:
    """An encoder drawn anew, its position embeddings of spread ``position_std``."""
    twin: contextualizer.Contextualizer | long_range.LongRange
    if isinstance(config, ContextualizerConfig):
        twin = contextualizer.Contextualizer(config)
    else:
        twin = long_range.LongRange(config)
    for name, parameter in twin.named_parameters():
        if name.endswith("position.weight"):
            nn.init.normal_(parameter, std=position_std)
    return Encoder(twin)


def encoder_config(config: ModelConfig) -> ContextualizerConfig | LongRangeConfig:
    """The config of an encoder without classes.

    Raises:
        CheckpointError: a model of a family that embeds no shots.
    """
    if not isinstance(config, (ContextualizerConfig, LongRangeConfig)):
        raise CheckpointError(
            f"encoder: expected a checkpoint of family contextualizer or long_range, got {config.family}"
        )
    return config.replaced(task="embedding", num_classes=0, head_size=0, threshold=None)


def without_classes(checkpoint: Checkpoint) -> Checkpoint:
    """The encoder of a checkpoint: everything but its classes.

    Raises:
        CheckpointError: a model of a family that embeds no shots.
    """
    config = encoder_config(checkpoint.config)
    tensors = {name: checkpoint.tensors[name] for name in config.tensor_shapes()}
    return Checkpoint(config, tensors, dict(checkpoint.metadata))


def checkpoint_of(encoder: Encoder, metadata: Mapping[str, str] | None = None) -> Checkpoint:
    """The checkpoint of an encoder, with a copy of its weights."""
    if isinstance(encoder.twin, contextualizer.Contextualizer):
        return contextualizer.to_checkpoint(encoder.twin, metadata)
    return long_range.to_checkpoint(encoder.twin, metadata)


def _twin(checkpoint: Checkpoint) -> contextualizer.Contextualizer | long_range.LongRange:
    if isinstance(checkpoint.config, ContextualizerConfig):
        return contextualizer.from_checkpoint(checkpoint)
    return long_range.from_checkpoint(checkpoint)

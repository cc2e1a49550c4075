"""Encoders of shots in torch, whichever family they are of: a batch of sequences to embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from megaseg.engine.graph.sequences import Strided, Windows
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.config import ModelConfig
from megaseg.engine.model.contextualizer import ContextualizerConfig
from megaseg.engine.model.long_range import LongRangeConfig
from megaseg.engine.model.movie_encoder import MovieEncoderConfig
from megaseg.engine.model.scene_encoder import SceneEncoderConfig
from megaseg.errors import CheckpointError
from megaseg.models.contextualizer import Contextualizer
from megaseg.models.long_range import LongRange
from megaseg.models.movie_encoder import MovieEncoder
from megaseg.models.scene_encoder import SceneEncoder
from megaseg.models.shot_encoders import loaded, saved
from megaseg.training.recipes.head.films import Films

EncoderConfig = ContextualizerConfig | LongRangeConfig | SceneEncoderConfig | MovieEncoderConfig
Twin = Contextualizer | LongRange | SceneEncoder | MovieEncoder
TWINS: dict[type[ModelConfig], type[Twin]] = {
    ContextualizerConfig: Contextualizer,
    LongRangeConfig: LongRange,
    SceneEncoderConfig: SceneEncoder,
    MovieEncoderConfig: MovieEncoder,
}
_SEQUENCES = 256  # embedded at once
_WINDOWS = 8  # lengths of an encoder's centred windows that a sequence has


def layout_of(config: EncoderConfig) -> tuple[int, int]:
    """Shots of a sequence of a film, and the step from one to the next: the encoder's own.

    Of an encoder of centred windows such that each shot's window lies in the sequence that is nearest to the shot.
    """
    own = config.sequences
    if isinstance(own, Windows):
        return _WINDOWS * own.length, _WINDOWS * own.length - 2 * own.half
    assert isinstance(own, Strided)
    return own.length, own.step


def reach_of(config: EncoderConfig) -> int:
    """Shots that the network reads for each row: L of an encoder of centred windows."""
    return config.max_length if isinstance(config, SceneEncoderConfig) else 1


class Encoder(nn.Module):
    """An encoder's twin as a module from sequences of joined rows to embeddings."""

    def __init__(self, twin: Twin) -> None:
        super().__init__()
        self.twin = twin

    @property
    def config(self) -> EncoderConfig:
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
        there = next(iter(batch.there.values()))
        embedded: Tensor
        if isinstance(self.twin, LongRange):
            embedded = self.twin.embedding(self.twin(batch))
        elif isinstance(self.twin, MovieEncoder):
            embedded = self.twin(batch.features)["embedding"]
        elif isinstance(self.twin, SceneEncoder):
            embedded = self.twin.rows(batch.features, there)
        else:
            embedded = self.twin(batch.features, there)
        return embedded.masked_fill((rows < 0)[..., None], 0.0)

    def embed(self, films: Films, rows: Tensor) -> Tensor:
        """Examples ``rows`` (examples, sequences, length) to (examples, sequences, length, E), zeros for padding.

        Sequences that are all padding are not read.
        """
        flat = rows.flatten(0, 1)
        used = (flat >= 0).any(1).nonzero()[:, 0]
        size = max(1, _SEQUENCES // reach_of(self.config))
        parts = [self(films, flat[chosen]) for chosen in torch.split(used, size)]
        embedded = torch.zeros(*flat.shape, self.width).index_copy(0, used, torch.cat(parts))
        return embedded.view(*rows.shape, self.width)


def encoder_of(checkpoint: Checkpoint) -> Encoder:
    """The encoder of a checkpoint, in evaluation mode; classes of its own are left out.

    Raises:
        CheckpointError: a model of a family that embeds no shots.
    """
    own = without_classes(checkpoint)
    kind = type(own.config)
    return Encoder(loaded(TWINS[kind], kind, own, torch.float32))


def new_encoder(config: EncoderConfig, position_std: float) -> Encoder:
    """An encoder drawn anew, its position embeddings of spread ``position_std``."""
    kind: type[Any] = TWINS[type(config)]
    twin: Twin = kind(config)
    for name, parameter in twin.named_parameters():
        if name.endswith("position.weight"):
            nn.init.normal_(parameter, std=position_std)
    return Encoder(twin)


def encoder_config(config: ModelConfig) -> EncoderConfig:
    """The config of an encoder without classes.

    Raises:
        CheckpointError: a model of a family that embeds no shots.
    """
    if isinstance(config, MovieEncoderConfig):
        return config
    if not isinstance(config, EncoderConfig):
        families = ", ".join(kind.family for kind in TWINS)
        raise CheckpointError(f"encoder: expected a checkpoint of one of the families {families}, got {config.family}")
    return config.replaced(task="embedding", num_classes=0, head_size=0, head_layers=None, threshold=None)


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
    return saved(encoder.twin, metadata)

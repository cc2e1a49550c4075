"""The configuration of a scene run: everything that fixes it, besides its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from megaseg.training.config import read_config


@dataclass(frozen=True, slots=True)
class SceneConfig:
    """Model sizes (see ``MegaConfig``), optimisation and augmentation of a scene model.

    ``position_std`` is the spread of the initial position embeddings: near the projections' own, or the model is slow
    to learn which row is the neighbour. ``positive_weight`` weighs boundaries in the loss. ``window_stride`` is the
    distance between training windows; every row of a window is trained on, only the centre row serves.
    ``components`` gives the principal directions that a modality keeps (all features where it names none);
    ``block_dropout`` is the share of shots left out of a window as augmentation.
    """

    max_length: int = 17
    num_bottleneck: int = 2
    hidden_size: int = 128
    ffn_size: int = 256
    num_heads: int = 4
    num_unimodal_layers: int = 1
    num_fusion_layers: int = 1
    dropout: float = 0.2
    position_std: float = 0.5
    epochs: int = 6
    patience: int = 3
    batch_size: int = 64
    window_stride: int = 17
    learning_rate: float = 1e-3
    warmup: float = 0.05
    weight_decay: float = 0.05
    gradient_clip: float = 1.0
    ema_decay: float = 0.99
    positive_weight: float = 1.0
    components: Mapping[str, int] = field(default_factory=dict)
    block_dropout: float = 0.0
    seed: int = 0

    @classmethod
    def read(cls, path: str | Path) -> SceneConfig:
        """Parse a JSON object of any of the fields.

        Raises:
            CheckpointError: an unreadable file, an unknown key or a value of the wrong type.
        """
        return read_config(cls, path)

"""Everything that fixes a training run, besides its data: one frozen dataclass, one JSON file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from megaseg.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Model sizes (see ``ModelConfig``), optimisation and augmentation of a scene model.

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
    def read(cls, path: str | Path) -> TrainingConfig:
        """Parse a JSON object of any of the fields.

        Raises:
            CheckpointError: an unreadable file, an unknown key or a value of the wrong type.
        """
        return read_config(cls, path)


Config = TypeVar("Config")


def read_config(kind: type[Config], path: str | Path) -> Config:
    """A frozen dataclass from a JSON file; missing keys take their defaults.

    Raises:
        CheckpointError: an unreadable file, an unknown key or a value of the wrong type.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: expected a JSON training config, got: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: expected a JSON object, got {type(values).__name__}")
    types = {field.name: str(field.type) for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key, value in values.items():
        if key not in types:
            raise CheckpointError(f"{path}: unknown key {key!r}, expected some of {', '.join(types)}")
        if not _fits(value, types[key]):
            raise CheckpointError(f"{path}: {key} must be {types[key]}, got {value!r}")
    return kind(**values)


def _fits(value: Any, kind: str) -> bool:
    if kind.startswith("Mapping"):
        return isinstance(value, dict) and all(_fits(number, "int") for number in value.values())
    if kind in ("str", "bool"):
        return type(value).__name__ == kind
    return type(value) is int or (kind == "float" and type(value) is float)

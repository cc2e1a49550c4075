"""The configuration of a head's run: everything that fixes it, besides its data and its encoder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from megaseg.errors import CheckpointError
from megaseg.training.config import range_problems, read_config
from megaseg.training.loop import OPTIMIZERS

_WIDEST = 65_536  # of a hidden layer
_DEEPEST = 64  # hidden layers


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """Head sizes, optimisation and examples.

    ``head_size`` is the width of each of ``num_hidden`` hidden layers (0: one linear layer) and ``head_dropout`` that
    of what the head reads. ``optimizer`` is adamw or sgd, the latter with ``momentum``.
    ``batch_size`` counts examples of a trained encoder, ``frozen_batch_size`` what the head reads of a frozen one (rows
    or examples, by the head), which is embedded once: ``draws`` times where examples are drawn at random.
    ``encoder_share`` is the encoder's learning rate as a share of the head's; the projections of raw features stay as
    they are unless ``train_projections``, which takes more labels than there usually are. Where the encoder is drawn
    anew, ``components`` gives the principal directions that a modality keeps, and ``position_std`` the spread of the
    position embeddings: small ones make a model slow to learn which row is the neighbour. ``positive_weight`` weighs
    boundaries, ``length`` is the number of shots of a training window (0: the encoder's own), ``examples`` the most
    runs of shots of an epoch of the heads that need no labels (0: all).
    ``validation_share`` of the films, chosen by name, validate where no others do. ``likeness`` makes the heads
    that choose an arrangement of shots compare nothing but their likeness, in so many blocks of columns (0: they read
    the embeddings themselves).
    """

    head_size: int = 0
    num_hidden: int = 1
    head_dropout: float = 0.1
    optimizer: str = "adamw"
    momentum: float = 0.9
    epochs: int = 20
    patience: int = 5
    batch_size: int = 32
    frozen_batch_size: int = 512
    draws: int = 4
    learning_rate: float = 1e-3
    encoder_share: float = 0.3
    train_projections: bool = False
    warmup: float = 0.1
    weight_decay: float = 0.05
    gradient_clip: float = 1.0
    ema_decay: float = 0.0
    positive_weight: float = 1.0
    length: int = 0
    examples: int = 0
    components: Mapping[str, int] = field(default_factory=dict)
    position_std: float = 0.5
    validation_share: float = 0.2
    likeness: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise CheckpointError(f"head config: {problem}")

    @classmethod
    def read(cls, path: str | Path, base: HeadConfig | None = None) -> HeadConfig:
        """Parse a JSON object of any of the fields; others are those of ``base``, or the defaults.

        Raises:
            CheckpointError: an unreadable file, an unknown key, a value of the wrong type or one out of range.
        """
        own = read_config(cls, path)
        if base is None:
            return own
        return replace(base, **{name: getattr(own, name) for name in json.loads(Path(path).read_text("utf-8"))})

    def _problems(self) -> Iterator[str]:
        yield from range_problems(
            self,
            dict.fromkeys(("head_size", "length", "examples", "likeness", "seed"), 0),
            ("head_dropout", "momentum", "warmup", "ema_decay", "validation_share"),
            ("learning_rate", "gradient_clip", "positive_weight"),
        )
        if self.optimizer not in OPTIMIZERS:
            yield f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {self.optimizer!r:.40}"
        if self.num_hidden > _DEEPEST:
            yield f"num_hidden must be at most {_DEEPEST}, got {self.num_hidden}"
        if self.head_size > _WIDEST:
            yield f"head_size must be at most {_WIDEST}, got {self.head_size}"
        for name in ("weight_decay", "encoder_share", "position_std"):
            if not 0 <= getattr(self, name) < float("inf"):
                yield f"{name} must be at least 0, got {getattr(self, name)}"

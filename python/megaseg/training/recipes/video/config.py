"""The configuration of a run of ``megaseg train video-scenes``: everything that fixes it, besides its data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from megaseg.training.config import read_config


@dataclass(frozen=True, slots=True)
class VideoConfig:
    """Sizes, optimisation and augmentation of a scene model of films.

    ``members`` networks of ``member_size`` hidden units a modality are trained side by side and averaged, which is one
    network of their sum. An epoch shows each film once: as it is with probability ``plain``, else one of ``views``
    views, in which modalities are left out or added (``views``). ``dropout`` is that of columns, ``hidden_dropout`` of
    hidden units, ``noise`` the deviation of what is added to columns, in their own.
    """

    members: int = 4
    member_size: int = 64
    epochs: int = 25
    batch_size: int = 256
    learning_rate: float = 2e-3
    warmup: float = 0.1
    weight_decay: float = 0.02
    dropout: float = 0.5
    hidden_dropout: float = 0.5
    noise: float = 0.1
    views: int = 10
    plain: float = 0.4
    seed: int = 0

    @classmethod
    def read(cls, path: str | Path) -> VideoConfig:
        """Parse a JSON object of any of the fields.

        Raises:
            CheckpointError: an unreadable file, an unknown key or a value of the wrong type.
        """
        return read_config(cls, path)

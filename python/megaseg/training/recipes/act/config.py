"""The configuration of an act run: everything that fixes it, besides its data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from megaseg.errors import CheckpointError
from megaseg.training.config import read_config

SHIPPED = Path(__file__).with_name("screenplay-acts.json")  # the configuration of the checkpoint that ships
VARIANTS = ("mega", "mega*")


@dataclass(frozen=True, slots=True)
class ActConfig:
    """Model sizes (see ``MegaConfig``), the three phases and the ablations.

    ``variant``: ``mega`` synchronises synopsis and movie, ``mega*`` distils the teacher's silver distributions instead.
    ``density`` is the share of the pairs inside the band that the lambda of each round keeps; ``band`` is xi (Eq. 2),
    ``temperature`` tau. ``text`` names modalities, with commas, of the sentences' width: their plain similarity to the
    sentences gives the first W and keeps ``text_share`` of every m_ij after; without any, the models are on their own.
    ``ordered``, ``sharpness``, ``smoothing`` and ``reverse`` are those of ``objectives.distillation``.
    ``labels``: q of Eq. 6 is the annotators' where they labelled, else (False) the synopsis model's.
    ``components``: principal directions that a modality keeps; ``noise`` is added to scaled features, ``scene_dropout``
    is the share of scenes left out, as augmentation.
    """

    variant: str = "mega"
    align_in_shots: bool = True
    align_in_bottlenecks: bool = True
    late_fusion: bool = False
    max_length: int = 512
    num_bottleneck: int = 20
    hidden_size: int = 32
    ffn_size: int = 64
    num_heads: int = 4
    num_unimodal_layers: int = 1
    num_fusion_layers: int = 1
    dropout: float = 0.3
    position_std: float = 0.02
    components: Mapping[str, int] = field(default_factory=dict)
    noise: float = 0.1
    scene_dropout: float = 0.1
    batch_size: int = 8
    learning_rate: float = 2e-3
    warmup: float = 0.1
    weight_decay: float = 0.05
    gradient_clip: float = 1.0
    ema_decay: float = 0.98
    synopsis_epochs: int = 30
    synopsis_dropout: float = 0.3
    rounds: int = 4
    round_epochs: int = 5
    density: float = 0.03
    band: float = 0.3
    temperature: float = 0.06
    text: str = ""
    text_share: float = 0.7
    epochs: int = 40
    patience: int = 10
    ordered: bool = True
    sharpness: float = 1.0
    smoothing: float = 0.5
    reverse: bool = False
    labels: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise CheckpointError(f"training config: {problem}")

    def _problems(self) -> Iterator[str]:
        if self.variant not in VARIANTS:
            yield f"variant must be one of {', '.join(VARIANTS)}, got {self.variant!r}"
        for key in ("density", "temperature", "band", "sharpness", "learning_rate"):
            if not getattr(self, key) > 0:
                yield f"{key} must be above 0, got {getattr(self, key)}"
        for key in ("dropout", "synopsis_dropout", "scene_dropout", "ema_decay", "text_share"):
            if not 0 <= getattr(self, key) < 1:
                yield f"{key} must be in [0, 1), got {getattr(self, key)}"
        for key in ("batch_size", "synopsis_epochs", "rounds", "round_epochs", "epochs", "patience"):
            if getattr(self, key) < 1:
                yield f"{key} must be at least 1, got {getattr(self, key)}"
        for key in ("noise", "smoothing", "warmup", "weight_decay", "position_std"):
            if not 0 <= getattr(self, key) < math.inf:
                yield f"{key} must be at least 0, got {getattr(self, key)}"
        if self.density > 1:
            yield f"density must be a share, got {self.density}"

    @property
    def text_modalities(self) -> tuple[str, ...]:
        """``text`` as names."""
        return tuple(name for name in self.text.split(",") if name)

    @classmethod
    def read(cls, path: str | Path) -> ActConfig:
        """Parse a JSON object of any of the fields.

        Raises:
            CheckpointError: an unreadable file, an unknown key, or a value that does not fit.
        """
        return read_config(cls, path)

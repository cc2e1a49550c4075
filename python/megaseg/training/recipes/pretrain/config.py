"""The configuration of a pretraining: everything that fixes it, besides its films."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from megaseg.errors import CheckpointError
from megaseg.training.config import range_problems, read_config

FAMILIES = ("contextualizer", "long_range")
OBJECTIVES = ("contrast", "cosine", "regression")
ASKED = ("masked", "all")
CANDIDATES = ("batch", "asked")
COMPUTE_TYPES = ("float32", "bfloat16")
LOSSES = ("intra", "inter", "cross")  # Eqs. 2, 5 and 6; a contextualizer has the first alone


@dataclass(frozen=True, slots=True)
class PretrainConfig:
    """Model sizes, losses and optimisation of a pretraining; the defaults are those of a contextualizer.

    ``modalities`` of a contextualizer are all that have a row a shot unless some are named; ``video``, ``audio`` and
    ``language`` of a long-range model are the modalities of these names unless others are named. ``length`` is that of
    the windows, in shots.

    Masked prediction: ``mask_share`` of the tokens, and ``objective``: ``contrast`` by dot product, ``cosine`` by
    cosine similarity over ``temperature``, or ``regression``. Asked for are the ``masked`` tokens, or ``all``: those
    that are seen, too, so that every row is trained. ``candidates`` are all tokens of the ``batch`` or the ``asked``
    ones. ``tau`` is InfoNCE's temperature, ``summed`` its sum over shots in place of the mean, and
    ``without`` names losses to leave out, of ``intra``, ``inter`` and ``cross``.

    ``splice_share`` of the windows have places of elsewhere spliced in, and the model says after which shots the next
    is not the film's next: an objective of this package, not of the papers.

    ``drop_share`` is how often a modality of a window is left out, as if the film did not have it. ``components`` gives
    the principal directions that a modality keeps (all features where it names none). ``position_std`` is the spread of
    the initial position embeddings. ``windows_together`` neighbouring windows of a film come in the same batch: more of
    them make the negatives harder. ``validation_share`` of the films is held out, and the run ends after ``patience``
    epochs without a lower loss on them; 0 holds none out. 0 ``epochs`` leave the random weights of ``seed``.
    ``compute_type`` is that of the transformers in training; losses and weights are float32.
    """

    family: str = "contextualizer"
    modalities: tuple[str, ...] = ()
    video: str = ""
    audio: str = ""
    language: str = ""
    length: int = 64
    hidden_size: int = 256
    ffn_size: int = 1024
    num_heads: int = 4
    num_layers: int = 3
    dropout: float = 0.1
    position_std: float = 0.5
    components: Mapping[str, int] = field(default_factory=dict)
    objective: str = "cosine"
    asked: str = "masked"
    candidates: str = "batch"
    mask_share: float = 0.2
    temperature: float = 0.1
    tau: float = 0.3
    summed: bool = False
    without: tuple[str, ...] = ()
    splice_share: float = 0.0
    drop_share: float = 0.1
    epochs: int = 30
    patience: int = 5
    batch_size: int = 32
    windows_together: int = 1
    learning_rate: float = 1e-3
    warmup: float = 0.05
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    ema_decay: float = 0.99
    validation_share: float = 0.1
    seed: int = 0
    compute_type: str = "float32"

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise CheckpointError(f"pretraining config: {problem}")

    @classmethod
    def read(cls, path: str | Path) -> PretrainConfig:
        """Parse a JSON object of any of the fields.

        Raises:
            CheckpointError: an unreadable file, an unknown key, a value of the wrong type or one out of range.
        """
        return read_config(cls, path)

    def has(self, loss: str) -> bool:
        """Whether a loss of ``LOSSES``, or ``splice``, is trained on."""
        if loss == "splice":
            return self.splice_share > 0
        return loss not in self.without and (loss == "intra" or self.family == "long_range")

    def _problems(self) -> Iterator[str]:
        for name, known in (
            ("asked", ASKED),
            ("family", FAMILIES),
            ("objective", OBJECTIVES),
            ("candidates", CANDIDATES),
            ("compute_type", COMPUTE_TYPES),
        ):
            if getattr(self, name) not in known:
                yield f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}"
        if unknown := [name for name in self.without if name not in LOSSES]:
            yield f"without must name some of {', '.join(LOSSES)}, got {unknown[0]!r}"
        if not any(map(self.has, (*LOSSES, "splice"))) and self.epochs:
            yield f"without must leave a loss to train on, got {', '.join(self.without)}"
        yield from range_problems(
            self,
            {"epochs": 0, "num_layers": 0, "seed": 0, "length": 2},
            ("dropout", "drop_share", "validation_share", "warmup", "ema_decay"),
            ("mask_share", "temperature", "tau", "learning_rate", "position_std", "gradient_clip"),
        )
        for name in ("mask_share", "splice_share"):
            if not 0 <= getattr(self, name) <= 1:
                yield f"{name} must be from 0 to 1, got {getattr(self, name)}"
        if not 0 <= self.weight_decay < float("inf"):
            yield f"weight_decay must be at least 0, got {self.weight_decay}"


@dataclass(frozen=True, slots=True)
class LongRangePretrainConfig(PretrainConfig):
    """The same with the defaults of a long-range model, which are the paper's but for the size of a batch."""

    family: str = "long_range"
    length: int = 30
    hidden_size: int = 512
    ffn_size: int = 2048
    num_heads: int = 8
    objective: str = "contrast"


def config_of(family: str) -> type[PretrainConfig]:
    """The class whose defaults are a family's."""
    return LongRangePretrainConfig if family == "long_range" else PretrainConfig

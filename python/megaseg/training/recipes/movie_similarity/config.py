"""The configuration of learning which movies are similar: everything that fixes it, besides movies and pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from megaseg.errors import CheckpointError
from megaseg.training.config import range_problems, read_config
from megaseg.training.loop import OPTIMIZERS


@dataclass(frozen=True, slots=True)
class MovieSimilarityConfig:
    """Model sizes and optimisation; SGD at 0.1, batches of 256 pairs and 100 epochs are the paper's.

    ``modalities`` are all that have a row a shot unless some are named. A batch of ``batch_size`` pairs is half of
    similar ones, and an epoch has every similar pair once; of each movie of a batch ``max_length`` shots are read,
    drawn anew where it has more. With ``movies_per_batch`` a batch is all pairs of so many movies at random instead,
    which costs less where pairs are many and movies few; an epoch is then as many batches as cover the movies.

    ``components`` gives the principal directions that a modality keeps (all features
    where it names none), and ``drop_share`` is how often a modality of a movie is left out.

    A ``test_share`` of the movies is kept out of everything but the figures, and a ``validation_share`` chooses the
    epoch, whose pairs are judged after every one; the run ends after ``patience`` epochs without a higher figure.
    """

    modalities: tuple[str, ...] = ()
    max_length: int = 1024
    hidden_size: int = 512
    num_layers: int = 2
    output_size: int = 128
    dropout: float = 0.1
    components: Mapping[str, int] = field(default_factory=dict)
    drop_share: float = 0.0
    epochs: int = 100
    patience: int = 20
    batch_size: int = 256
    movies_per_batch: int = 0
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    warmup: float = 0.05
    weight_decay: float = 1e-4
    gradient_clip: float = 1.0
    ema_decay: float = 0.0
    validation_share: float = 0.1
    test_share: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise CheckpointError(f"movie similarity config: {problem}")

    @classmethod
    def read(cls, path: str | Path) -> MovieSimilarityConfig:
        """Parse a JSON object of any of the fields.

        Raises:
            CheckpointError: an unreadable file, an unknown key, a value of the wrong type or one out of range.
        """
        return read_config(cls, path)

    def _problems(self) -> Iterator[str]:
        if self.optimizer not in OPTIMIZERS:
            yield f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {self.optimizer!r}"
        shares = ("dropout", "drop_share", "momentum", "warmup", "ema_decay", "validation_share", "test_share")
        least = {"epochs": 0, "num_layers": 0, "seed": 0, "batch_size": 2, "movies_per_batch": 0}
        yield from range_problems(self, least, shares, ("learning_rate", "gradient_clip"))
        if not 0 <= self.weight_decay < float("inf"):
            yield f"weight_decay must be at least 0, got {self.weight_decay}"
        if self.validation_share + self.test_share >= 1:
            yield "validation_share and test_share must leave movies to train on, got 1 or more together"

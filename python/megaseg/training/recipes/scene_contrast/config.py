"""The configuration of a scene contrast: everything that fixes it, besides movies and scene pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from megaseg.errors import CheckpointError
from megaseg.training.config import range_problems, read_config

EXCLUDED = ("pair", "similar")
POSITIVES = ("pairs", "halves")
STARTS = ("random", "mean")


@dataclass(frozen=True, slots=True)
class SceneContrastConfig:
    """Model sizes, contrast and optimisation; the defaults are the paper's where it gives a number.

    ``modalities`` are all that have a row a shot unless some are named. ``length`` is the scene's, in shots, odd; of
    mined scenes of another length the middle is read.

    ``start``: the encoder begins at ``random``, or as the ``mean`` of its shots' features [chosen], which needs
    fewer films and epochs. ``keep_layers`` leaves the layers as they begin, so that projections of features and the
    final norm alone are trained. ``projection_size`` is the width of what is contrasted, which training alone
    needs, and which ``projection_layers`` (0 to 2) give; without any it is the embedding itself. ``queue_size``
    keys at most are kept as negatives, and never more than an epoch has pairs; ``key_momentum`` is the share of its
    weights that the encoder of keys keeps at a step. Negatives of a pair never come from its two movies
    (``excluded``: ``pair``), nor, if ``similar``, from any movie that scene pairs join to one of them.

    ``positives`` are mined scene ``pairs``, or two ``halves`` of a scene at random, which need films whose scenes are
    known (their labels) in place of scene pairs [not of the paper]. Negatives of a half are all other scenes, those of
    its own movie, too, of which ``scenes_together`` come in the same batch: what is common to a movie then tells
    nothing. ``excluded``, ``most_shift``, ``shot_drop_share`` and ``own_share`` are of pairs alone.

    Either scene of a pair is changed anew whenever it is read [chosen]: it begins up to ``most_shift`` shots earlier or
    later, a ``shot_drop_share`` of its shots is left out, shots after them moving up, and a ``drop_share`` of the
    modalities. An ``own_share`` of the positives is the scene itself, changed in another way, in place of its partner.

    ``pairs_per_epoch`` pairs, drawn anew, make an epoch; 0 takes all. A ``validation_share`` of the movies is held out
    with all their pairs, and the run ends after ``patience`` epochs without a lower loss between these movies.
    """

    modalities: tuple[str, ...] = ()
    length: int = 9
    hidden_size: int = 256
    ffn_size: int = 1024
    num_heads: int = 4
    num_layers: int = 3
    dropout: float = 0.1
    components: Mapping[str, int] = field(default_factory=dict)
    start: str = "random"
    keep_layers: bool = False
    projection_size: int = 128
    projection_layers: int = 2
    queue_size: int = 65_536
    key_momentum: float = 0.999
    temperature: float = 0.07
    positives: str = "pairs"
    excluded: str = "pair"
    scenes_together: int = 32
    most_shift: int = 2
    shot_drop_share: float = 0.1
    drop_share: float = 0.1
    own_share: float = 0.0
    pairs_per_epoch: int = 0
    epochs: int = 100
    patience: int = 100
    batch_size: int = 128
    learning_rate: float = 1.5e-4
    warmup: float = 0.4
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    ema_decay: float = 0.0
    validation_share: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise CheckpointError(f"scene contrast config: {problem}")

    @classmethod
    def read(cls, path: str | Path) -> SceneContrastConfig:
        """Parse a JSON object of any of the fields.

        Raises:
            CheckpointError: an unreadable file, an unknown key, a value of the wrong type or one out of range.
        """
        return read_config(cls, path)

    def _problems(self) -> Iterator[str]:
        for name, known in (("excluded", EXCLUDED), ("positives", POSITIVES), ("start", STARTS)):
            if getattr(self, name) not in known:
                yield f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}"
        shares = ("dropout", "shot_drop_share", "drop_share", "key_momentum", "warmup", "ema_decay", "validation_share")
        least = {"epochs": 0, "num_layers": 0, "seed": 0, "most_shift": 0, "pairs_per_epoch": 0, "projection_layers": 0}
        yield from range_problems(self, least, shares, ("temperature", "learning_rate", "gradient_clip"))
        if not 0 <= self.own_share <= 1:
            yield f"own_share must be from 0 to 1, got {self.own_share}"
        if self.projection_layers > 2:
            yield f"projection_layers must be 0 to 2, got {self.projection_layers}"
        if self.length % 2 == 0:
            yield f"length must be odd, got {self.length}"
        if not 0 <= self.weight_decay < float("inf"):
            yield f"weight_decay must be at least 0, got {self.weight_decay}"

"""Shot ordering: three neighbouring shots, shuffled; which of the six orders is the film's (Argaw et al., Sec. 4.3)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from megaseg.engine.inputs.features import Features
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.training.recipes.head.choice import Choice
from megaseg.training.recipes.head.config import HeadConfig
from megaseg.training.recipes.head.run import Mode, TrainedHead, Watch, train_head


@dataclass(frozen=True)
class Ordering(Choice):
    """The order of three neighbouring shots among all six."""

    kind: ClassVar[str] = "ordering"
    length: ClassVar[int] = 3
    shots: ClassVar[int] = 3
    arrangements: ClassVar[tuple[tuple[int, ...], ...]] = tuple(itertools.permutations(range(3)))


def train_ordering(
    encoder: Checkpoint,
    train: Mapping[str, Features],
    validation: Mapping[str, Features],
    config: HeadConfig,
    fine_tune: bool,
    from_scratch: bool = False,
    watch: Watch = Watch(),  # noqa: B008 (frozen)
) -> TrainedHead:
    """A head that orders three shots; its epochs are ``history``.

    Raises:
        CheckpointError, FeatureError: as ``train_head``.
    """
    return train_head(Ordering, encoder, train, validation, config, Mode(fine_tune, from_scratch), watch=watch)

"""Next shot: four shots, and the five that follow them, shuffled; which comes next (Argaw et al., Sec. 4.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from megaseg.engine.inputs.features import Features
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.training.recipes.head.choice import Choice
from megaseg.training.recipes.head.config import HeadConfig
from megaseg.training.recipes.head.run import Mode, TrainedHead, Watch, train_head


@dataclass(frozen=True)
class NextShot(Choice):
    """The shot that comes after four others, among the next five."""

    kind: ClassVar[str] = "next-shot"
    length: ClassVar[int] = 5
    shots: ClassVar[int] = 9
    arrangements: ClassVar[tuple[tuple[int, ...], ...]] = tuple((0, 1, 2, 3, candidate) for candidate in range(4, 9))


def train_next_shot(
    encoder: Checkpoint,
    train: Mapping[str, Features],
    validation: Mapping[str, Features],
    config: HeadConfig,
    fine_tune: bool,
    from_scratch: bool = False,
    watch: Watch = Watch(),  # noqa: B008 (frozen)
) -> TrainedHead:
    """A head that chooses the next shot; its epochs are ``history``.

    Raises:
        CheckpointError, FeatureError: as ``train_head``.
    """
    return train_head(NextShot, encoder, train, validation, config, Mode(fine_tune, from_scratch), watch=watch)

"""Tags of films or of scenes, any number of each: multi-label places (Chen et al., CVPR 2023, supplementary 1.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from megaseg.errors import FeatureError
from megaseg.evaluation.metrics import average_precision
from megaseg.training.recipes.head.classes import class_number
from megaseg.training.recipes.head.config import HeadConfig
from megaseg.training.recipes.head.events import filled
from megaseg.training.recipes.head.films import Films
from megaseg.training.recipes.head.labels import Tags, read_tags
from megaseg.training.recipes.head.protocol import Drawing, Examples, Head, LinearHead
from megaseg.training.recipes.head.windows import means_of_films, scene_windows


@dataclass(frozen=True)
class Tagging(Head):
    """Any of ``classes`` for every scene; labels are tags by film and scene. Units are scenes, or whole films."""

    kind: ClassVar[str] = "tags"
    figure: ClassVar[str] = "map"
    classes: tuple[str, ...]

    @classmethod
    def read_labels(cls, path: Path) -> Mapping[str, Tags]:
        """Tags by film and scene, of a CSV ``name,label`` or ``name,first,last,label``."""
        return read_tags(path)

    @classmethod
    def of(cls, films: Films, labels: Mapping[str, Tags], config: HeadConfig) -> Tagging:
        """The head of the tags of the training films."""
        scenes = [set(tags) for own in labels.values() for tags in own.values()]
        classes = tuple(sorted(set().union(*scenes)))
        if all(own == set(classes) for own in scenes):
            raise FeatureError(f"labels: expected tags that differ in the training films, got always {list(classes)}")
        return cls(classes)

    def examples(self, films: Films, labels: Mapping[str, Tags], drawing: Drawing) -> Examples:
        """Scenes in the order of films and shots, with 1 for each of their tags."""
        windows, targets = [], []
        for film, name in enumerate(films.names):
            begin, end = films.span(film)
            for span, tags in labels[name].items():
                first, last = (0, end - begin - 1) if span is None else span
                if last >= end - begin:
                    raise FeatureError(
                        f"label of {name}: expected a scene of shots 0 to {end - begin - 1}, got {first} to {last}"
                    )
                windows.append(scene_windows(films, film, (first, last), drawing))
                targets.append(self._numbers(tags, f"label of {name}"))
        rows, marks = zip(*windows, strict=True)
        return Examples(filled(rows, -1), filled(marks, 0), torch.stack(targets))

    def _numbers(self, tags: tuple[str, ...], where: str) -> Tensor:
        numbers = torch.zeros(len(self.classes))
        for tag in tags:
            numbers[class_number(tag, self.classes, where)] = 1
        return numbers

    def read(self, embedded: Tensor, examples: Examples) -> tuple[Tensor, Tensor]:
        """Means (scenes, E), and tags (scenes, classes)."""
        return means_of_films(embedded, examples)

    def model(self, width: int, config: HeadConfig) -> nn.Module:
        """Logits of the tags."""
        return LinearHead(width, len(self.classes), config)

    def loss(self, model: nn.Module, inputs: Tensor, targets: Tensor, config: HeadConfig) -> Tensor:
        """Mean binary cross-entropy of all tags."""
        return functional.binary_cross_entropy_with_logits(model(inputs), targets)

    def predict(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Probabilities (scenes, classes)."""
        probabilities: Tensor = model(inputs).sigmoid()
        return probabilities

    def metrics(self, predictions: Tensor, targets: Tensor, films: Films) -> dict[str, Any]:
        """Mean average precision over the tags that occur, F1 of all decisions at 0.5, and its mean over these tags.

        ``chance`` is the mean average precision of a constant: the share of scenes of each tag.
        """
        there = targets.sum(0) > 0
        if not there.any():
            raise FeatureError("labels: expected tags of some scenes to evaluate on, got none")
        columns = there.nonzero()[:, 0].tolist()
        own = [average_precision(targets[:, k].numpy(), predictions[:, k].numpy()) for k in columns]
        said, true = predictions > 0.5, targets > 0
        by_tag = [_f1(said[:, k], true[:, k]) for k in columns]
        return {
            "map": sum(own) / len(own),
            "f1": _f1(said, true),
            "f1_per_tag": sum(by_tag) / len(by_tag),
            "chance": float(targets[:, there].mean()),
            "tags": len(own),
            "scenes": len(targets),
        }


def _f1(said: Tensor, true: Tensor) -> float:
    found = int((said & true).sum())
    return 2 * found / max(1, int(said.sum()) + int(true.sum()))

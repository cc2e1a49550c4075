"""Attributes of shots: a class for every shot, of several attributes at once (Argaw et al., Sec. 4.3: AVE)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from megaseg.errors import FeatureError
from megaseg.training.recipes.head.classes import accuracies, class_names, class_number
from megaseg.training.recipes.head.config import HeadConfig
from megaseg.training.recipes.head.films import Films
from megaseg.training.recipes.head.labels import ShotLabels, read_shot_labels
from megaseg.training.recipes.head.protocol import Drawing, Examples, Head, LinearHead
from megaseg.training.recipes.head.windows import all_shots, marked_shots

_UNLABELLED = -1


@dataclass(frozen=True)
class Attributes(Head):
    """One class of each attribute for every shot, from one linear layer; units are shots.

    ``classes`` are the names of the classes of each of ``names``. Labels are by film, attribute and shot; shots
    without a label are not learned.
    """

    kind: ClassVar[str] = "attributes"
    figure: ClassVar[str] = "average"
    names: tuple[str, ...]
    classes: tuple[tuple[str, ...], ...]

    @classmethod
    def read_labels(cls, path: Path) -> Mapping[str, ShotLabels]:
        """Classes by film, attribute and shot, of a CSV ``name,shot,attribute,label``."""
        return read_shot_labels(path)

    @classmethod
    def of(cls, films: Films, labels: Mapping[str, ShotLabels], config: HeadConfig) -> Attributes:
        """The head of the attributes and classes of the training films."""
        names = tuple(sorted({name for own in labels.values() for name in own}))
        found = {name: [own[name].values() for own in labels.values() if name in own] for name in names}
        classes = (class_names((c for shots in found[name] for c in shots), f"attribute {name}") for name in names)
        return cls(names, tuple(classes))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Attributes:
        """The head of ``to_dict``."""
        return cls(tuple(values["names"]), tuple(map(tuple, values["classes"])))

    def examples(self, films: Films, labels: Mapping[str, ShotLabels], drawing: Drawing) -> Examples:
        """Windows of whole films, with the class number of every shot and attribute, -1 where there is none."""
        targets = torch.full((int(films.edges[-1]), len(self.names)), _UNLABELLED)
        for film, name in enumerate(films.names):
            begin, end = films.span(film)
            for attribute, shots in labels[name].items():
                self._fill(targets[begin:end], attribute, shots, name)
        return all_shots(films, drawing, targets)

    def _fill(self, targets: Tensor, attribute: str, shots: Mapping[int, str], name: str) -> None:
        if attribute not in self.names:
            raise FeatureError(f"{name}: expected attributes {', '.join(self.names)}, got {attribute!r}")
        column = self.names.index(attribute)
        for shot, label in shots.items():
            if not 0 <= shot < len(targets):
                raise FeatureError(f"{name}: expected labels of shots 0 to {len(targets) - 1}, got shot {shot}")
            where = f"{name}, shot {shot}, {attribute}"
            targets[shot, column] = class_number(label, self.classes[column], where)

    def read(self, embedded: Tensor, examples: Examples) -> tuple[Tensor, Tensor]:
        """Embeddings (shots, E) and class numbers (shots, attributes) of the shots that have any label."""
        inputs, targets = marked_shots(embedded, examples)
        own = (targets != _UNLABELLED).any(1)
        return inputs[own], targets[own]

    def model(self, width: int, config: HeadConfig) -> nn.Module:
        """Logits of all classes of all attributes, side by side."""
        return LinearHead(width, sum(map(len, self.classes)), config)

    def loss(self, model: nn.Module, inputs: Tensor, targets: Tensor, config: HeadConfig) -> Tensor:
        """Mean over the labels of cross-entropy among their attribute's classes."""
        logits = self._by_attribute(model(inputs))
        sums = [
            functional.cross_entropy(own, targets[:, column], ignore_index=_UNLABELLED, reduction="sum")
            for column, own in enumerate(logits)
        ]
        return torch.stack(sums).sum() / (targets != _UNLABELLED).sum().clamp_min(1)

    def predict(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Class numbers (shots, attributes)."""
        return torch.stack([own.argmax(-1) for own in self._by_attribute(model(inputs))], dim=1)

    def metrics(self, predictions: Tensor, targets: Tensor, films: Films) -> dict[str, Any]:
        """Accuracy as a mean over classes of each attribute, and the average of the attributes."""
        figures = {}
        for column, name in enumerate(self.names):
            own = targets[:, column] != _UNLABELLED
            if own.any():
                figures[name] = accuracies(predictions[own, column], targets[own, column])[1]
        if not figures:
            raise FeatureError("labels: expected labels of some shots to evaluate on, got none")
        return {**figures, "average": sum(figures.values()) / len(figures), "shots": len(targets)}

    def _by_attribute(self, logits: Tensor) -> tuple[Tensor, ...]:
        return torch.split(logits, [len(own) for own in self.classes], dim=-1)

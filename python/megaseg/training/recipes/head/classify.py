"""Classification of clips: the mean of a clip's embeddings, and one linear layer (Argaw et al., Sec. 4: LVU)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from megaseg.training.recipes.head.classes import accuracies, class_names, class_number
from megaseg.training.recipes.head.config import HeadConfig
from megaseg.training.recipes.head.films import Films
from megaseg.training.recipes.head.labels import read_classes
from megaseg.training.recipes.head.protocol import Drawing, Examples, Head, LinearHead
from megaseg.training.recipes.head.windows import means_of_films, whole_films


@dataclass(frozen=True)
class Classify(Head):
    """One of ``classes`` for every clip; labels are class names by clip. Units are clips."""

    kind: ClassVar[str] = "classify"
    figure: ClassVar[str] = "accuracy"
    classes: tuple[str, ...]

    @classmethod
    def read_labels(cls, path: Path) -> Mapping[str, str]:
        """Class names by clip, of LVU's files or a CSV ``name,label``."""
        return read_classes(path)

    @classmethod
    def of(cls, films: Films, labels: Mapping[str, str], config: HeadConfig) -> Classify:
        """The head of the classes of the training clips."""
        return cls(class_names(labels.values(), "labels"))

    def examples(self, films: Films, labels: Mapping[str, str], drawing: Drawing) -> Examples:
        """Whole clips."""
        numbers = [class_number(labels[name], self.classes, f"label of {name}") for name in films.names]
        return whole_films(films, drawing, torch.tensor(numbers))

    def read(self, embedded: Tensor, examples: Examples) -> tuple[Tensor, Tensor]:
        """Means over time (clips, E)."""
        return means_of_films(embedded, examples)

    def model(self, width: int, config: HeadConfig) -> nn.Module:
        """Logits of the classes."""
        return LinearHead(width, len(self.classes), config)

    def loss(self, model: nn.Module, inputs: Tensor, targets: Tensor, config: HeadConfig) -> Tensor:
        """Cross-entropy."""
        return functional.cross_entropy(model(inputs), targets)

    def predict(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Numbers (clips,) of the likeliest classes."""
        numbers: Tensor = model(inputs).argmax(-1)
        return numbers

    def metrics(self, predictions: Tensor, targets: Tensor, films: Films) -> dict[str, Any]:
        """Accuracy, its mean over the classes, and that of always naming the commonest class of these clips."""
        accuracy, mean = accuracies(predictions, targets)
        commonest = float(targets.bincount().max()) / len(targets)
        return {"accuracy": accuracy, "accuracy_per_class": mean, "commonest": commonest, "clips": len(targets)}

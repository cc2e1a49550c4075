"""Relations of two events of a clip, in four classes (VidSitu), from the mean embedding of each event's shots.

VidSitu's own annotations were not at hand: the head is proved on generated clips with known answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from megaseg.errors import FeatureError
from megaseg.training.recipes.head.config import HeadConfig
from megaseg.training.recipes.head.events import Clips, annotated, clip_windows, filled
from megaseg.training.recipes.head.films import Films
from megaseg.training.recipes.head.protocol import Drawing, Examples, Head, LinearHead
from megaseg.training.recipes.head.vidsitu import RELATIONS, Annotation

if TYPE_CHECKING:
    from typing_extensions import Self

_FIRST, _SECOND = 1, 2  # bits of a mark: a shot may be of both events


@dataclass(frozen=True)
class EventRelation(Head):
    """Every annotated pair of events is an example; A is the earlier one. The four classes are ``RELATIONS``."""

    kind: ClassVar[str] = "relation"
    figure: ClassVar[str] = "accuracy"

    @classmethod
    def read_labels(cls, path: Path) -> Mapping[str, list[Annotation]]:
        """Annotations by clip, from a file in VidSitu's layout."""
        return annotated(path)

    @classmethod
    def of(cls, films: Films, labels: Clips, config: HeadConfig) -> Self:
        """The head, if the training clips have relations of at least two kinds."""
        kinds = {relation.kind for own in labels.values() for note in own for relation in note.relations}
        if len(kinds) < 2:
            named = [RELATIONS[kind] for kind in sorted(kinds)]
            raise FeatureError(f"relation: expected at least two kinds of relations to train on, got {named}")
        return cls()

    def examples(self, films: Films, labels: Clips, drawing: Drawing) -> Examples:
        """Clips with both events marked, one for each annotated relation."""
        rows, marks, targets = [], [], []
        for film, name in enumerate(films.names):
            annotations = labels.get(name, [])
            if not any(annotation.relations for annotation in annotations):
                continue
            windows, events = clip_windows(films, film, drawing)
            for relation in (relation for annotation in annotations for relation in annotation.relations):
                rows.append(windows)
                marks.append(events[relation.first] * _FIRST + events[relation.second] * _SECOND)
                targets.append(relation.kind)
        if not rows:
            raise FeatureError(f"relation: expected annotated relations in some of {len(films.names)} clips, got none")
        return Examples(filled(rows, -1), filled(marks, 0), torch.tensor(targets))

    def read(self, embedded: Tensor, examples: Examples) -> tuple[Tensor, Tensor]:
        """Mean embeddings of both events side by side, (examples, 2 E), and classes."""
        parts = [_mean(embedded, examples.marks & bit > 0) for bit in (_FIRST, _SECOND)]
        return torch.cat(parts, dim=1), examples.targets

    def model(self, width: int, config: HeadConfig) -> nn.Module:
        """Logits of the four classes."""
        return LinearHead(2 * width, len(RELATIONS), config)

    def loss(self, model: nn.Module, inputs: Tensor, targets: Tensor, config: HeadConfig) -> Tensor:
        """Cross entropy."""
        return functional.cross_entropy(model(inputs), targets)

    def predict(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Probabilities (pairs, 4)."""
        probabilities: Tensor = model(inputs).softmax(-1)
        return probabilities

    def metrics(self, predictions: Tensor, targets: Tensor, films: Films) -> dict[str, float]:
        """Accuracy (top 1), its mean over classes, and that of each class which is there."""
        right = (predictions.argmax(1) == targets).double()
        of_class = {
            name: float(right[targets == kind].mean()) for kind, name in enumerate(RELATIONS) if (targets == kind).any()
        }
        mean = float(np.mean(list(of_class.values())))
        return {"accuracy": float(right.mean()), "mean_class_accuracy": mean, **of_class, "pairs": float(len(targets))}


def _mean(embedded: Tensor, chosen: Tensor) -> Tensor:
    """Mean (examples, E) of the chosen rows (examples, sequences, length)."""
    weights = chosen.to(embedded.dtype)
    return torch.einsum("nslE,nsl->nE", embedded, weights / weights.sum((1, 2), keepdim=True))

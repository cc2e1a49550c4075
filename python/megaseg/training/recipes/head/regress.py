"""Regression on clips: the mean of a clip's embeddings, one linear layer and squared error (Argaw et al., Sec. 4)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from megaseg.errors import FeatureError
from megaseg.training.recipes.head.config import HeadConfig
from megaseg.training.recipes.head.films import Films
from megaseg.training.recipes.head.labels import read_numbers
from megaseg.training.recipes.head.protocol import Drawing, Examples, Head, LinearHead
from megaseg.training.recipes.head.windows import means_of_films, whole_films


@dataclass(frozen=True)
class Regress(Head):
    """A number for every clip; labels are numbers by clip, of ``mean`` and ``spread`` in training. Units are clips."""

    kind: ClassVar[str] = "regress"
    figure: ClassVar[str] = "mse"
    lower_is_better: ClassVar[bool] = True
    mean: float
    spread: float

    @classmethod
    def read_labels(cls, path: Path) -> Mapping[str, float]:
        """Numbers by clip, of LVU's files or a CSV ``name,label``."""
        return read_numbers(path)

    @classmethod
    def of(cls, films: Films, labels: Mapping[str, float], config: HeadConfig) -> Regress:
        """The head for the spread of the training targets."""
        _require_finite(labels)
        values = np.array(list(labels.values()), np.float64)
        spread = float(values.std())
        if spread <= 1e-9 * max(1.0, float(np.abs(values).max())):
            raise FeatureError(f"labels: expected targets that differ in the training films, got only {values[0]}")
        return cls(float(values.mean()), spread)

    def examples(self, films: Films, labels: Mapping[str, float], drawing: Drawing) -> Examples:
        """Whole clips."""
        _require_finite(labels)
        return whole_films(films, drawing, torch.tensor([labels[name] for name in films.names], dtype=torch.float64))

    def read(self, embedded: Tensor, examples: Examples) -> tuple[Tensor, Tensor]:
        """Means over time (clips, E)."""
        return means_of_films(embedded, examples)

    def model(self, width: int, config: HeadConfig) -> nn.Module:
        """A number in units of ``spread``."""
        return LinearHead(width, 1, config)

    def loss(self, model: nn.Module, inputs: Tensor, targets: Tensor, config: HeadConfig) -> Tensor:
        """Mean squared error in units of ``spread``."""
        return functional.mse_loss(model(inputs)[:, 0], ((targets - self.mean) / self.spread).float())

    def predict(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Numbers (clips,), float64."""
        units: Tensor = model(inputs)[:, 0]
        return self.mean + self.spread * units.double()

    def metrics(self, predictions: Tensor, targets: Tensor, films: Films) -> dict[str, Any]:
        """Mean squared error, mean absolute error, and the squared error of always naming the training mean."""
        error = predictions - targets
        mean = float((targets - self.mean).square().mean())
        mse, mae = float(error.square().mean()), float(error.abs().mean())
        return {"mse": mse, "mae": mae, "mse_of_mean": mean, "clips": len(targets)}


def _require_finite(labels: Mapping[str, float]) -> None:
    for name, value in labels.items():
        if not math.isfinite(value):
            raise FeatureError(f"label of {name}: expected a finite number, got {value}")

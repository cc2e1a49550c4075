"""What the heads that choose one of several arrangements of shots share: loss, choice and accuracy."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from megaseg.training.recipes.head.config import HeadConfig
from megaseg.training.recipes.head.films import Films
from megaseg.training.recipes.head.protocol import Drawing, Examples, Head
from megaseg.training.recipes.head.scorer import Likeness, Scorer
from megaseg.training.recipes.head.windows import neighbours


class Choice(Head):
    """A head whose example is ``options`` arrangements of ``length`` shots, one of them the film's own.

    Films are the labels. The encoder reads every arrangement as a sequence; a softmax over their scores chooses.
    """

    figure: ClassVar[str] = "accuracy"
    needs_labels: ClassVar[bool] = False
    length: ClassVar[int]  # shots of an arrangement
    shots: ClassVar[int]  # neighbouring shots of an example
    arrangements: ClassVar[tuple[tuple[int, ...], ...]]  # places among these shots; the first is the film's own

    @classmethod
    def of(cls, films: Films, labels: Any, config: HeadConfig) -> Choice:
        """The head."""
        return cls()

    def examples(self, films: Films, labels: Any, drawing: Drawing) -> Examples:
        """The arrangements of runs of neighbouring shots in random order; targets (examples,) are the film's own."""
        runs = neighbours(films, self.shots, drawing)
        options = len(self.arrangements)
        order = drawing.rng.permuted(np.tile(np.arange(options), (len(runs), 1)), axis=1)  # (examples, options)
        rows: NDArray[np.int64] = runs[:, np.array(self.arrangements)]  # (examples, options, length)
        index = torch.from_numpy(np.take_along_axis(rows, order[..., None], axis=1))
        return Examples(index, torch.ones_like(index), torch.from_numpy(np.argmin(order, axis=1)))

    def model(self, width: int, config: HeadConfig) -> nn.Module:
        """A score of each arrangement."""
        return (Likeness if config.likeness else Scorer)(width, self.length, config)

    def loss(self, model: nn.Module, inputs: Tensor, targets: Tensor, config: HeadConfig) -> Tensor:
        """Cross-entropy of the film's own arrangement among the others."""
        return functional.cross_entropy(model(inputs), targets)

    def predict(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """The chosen arrangement (examples,)."""
        chosen: Tensor = model(inputs).argmax(-1)
        return chosen

    def metrics(self, predictions: Tensor, targets: Tensor, films: Films) -> dict[str, float]:
        """Accuracy, that of chance, and the number of examples."""
        accuracy = float((predictions == targets).double().mean())
        return {"accuracy": accuracy, "chance": 1 / len(self.arrangements), "examples": len(targets)}

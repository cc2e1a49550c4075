"""What a head is: its labels, examples, model, loss, predictions and figures."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from megaseg.engine.model.config import ModelConfig
from megaseg.engine.model.contextualizer import hidden_layers
from megaseg.errors import UnsupportedError
from megaseg.training.recipes.head.config import HeadConfig
from megaseg.training.recipes.head.films import Films

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, slots=True)
class Examples:
    """Sequences of shots for the encoder, and what the head is to say of them.

    ``rows`` (examples, sequences, length) are rows of the joined films in the order in which the encoder reads them; -1
    fills up, at the end of a sequence, and whole sequences of -1 fill up an example. ``marks``, of the same shape, tell
    the head which rows are its own: 0 = context only, other numbers mean what the head says (1 = read, or 1 and 2 = the
    two events of a pair). ``targets`` (examples, ...) are the head's.
    """

    rows: Tensor
    marks: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, chosen: Any) -> Examples:
        return Examples(self.rows[chosen], self.marks[chosen], self.targets[chosen])

    def trimmed(self) -> Examples:
        """The same examples without the sequences and places that are padding in all of them."""
        real = self.rows >= 0
        most = int(real.any(2).any(0).nonzero().max()) + 1, int(real.any(1).any(0).nonzero().max()) + 1
        rows, marks = (part[:, : most[0], : most[1]] for part in (self.rows, self.marks))
        return Examples(rows, marks, self.targets)

    @staticmethod
    def joined(parts: Sequence[Examples]) -> Examples:
        """Examples of several draws, which have the same shape but for their number."""
        return Examples(*(torch.cat([getattr(part, name) for part in parts]) for name in ("rows", "marks", "targets")))


@dataclass(frozen=True, slots=True)
class Drawing:
    """How examples are drawn: for training or evaluation, for which encoder, and whether its weights are trained.

    ``length`` and ``step`` are the shots of a sequence and the distance of one to the next; ``rng`` is one epoch's, or
    the one that all evaluations take. ``window`` is the length of the centred windows of an encoder that has such.
    """

    config: HeadConfig
    length: int
    step: int
    rng: np.random.Generator
    training: bool
    frozen: bool
    window: int = 1

    @property
    def random(self) -> bool:
        """Whether windows of films are to differ from epoch to epoch."""
        return self.training and not self.frozen


class Head(ABC):
    """A kind of head, made of its training labels; a frozen dataclass whose fields are JSON values.

    Fields (classes, a vocabulary, a mean) go into the head's file. Labels are whatever ``read_labels`` gives: None for
    heads whose labels the films have (``Features.labels``), or that need none. A key that is no film is left out before
    a head sees it, if the labels are a mapping by film.
    """

    kind: ClassVar[str]
    figure: ClassVar[str]  # the figure of ``metrics`` that chooses the epoch
    lower_is_better: ClassVar[bool] = False
    drawn: ClassVar[bool] = False  # a frozen encoder, too, gets several draws of examples
    needs_labels: ClassVar[bool] = True  # a file of labels
    reads_film_labels: ClassVar[bool] = False  # films without labels of their own are left out

    @classmethod
    def read_labels(cls, path: Path) -> Mapping[str, Any]:
        """Labels of a file by film name.

        Raises:
            FeatureError: names the file, the line, what was expected and what came.
            UnsupportedError: a head that takes no file of labels.
        """
        raise UnsupportedError(f"labels: expected none for head {cls.kind}, got {path}")

    @classmethod  # noqa: B027 (most heads take any encoder)
    def require(cls, encoder: ModelConfig, trains_encoder: bool) -> None:
        """Refuse an encoder, or one that stays as it is, where the head cannot be of it.

        Raises:
            UnsupportedError: says what the head needs.
        """

    @classmethod
    @abstractmethod
    def of(cls, films: Films, labels: Any, config: HeadConfig) -> Self:
        """The head for training films and their labels.

        Raises:
            FeatureError: labels that nothing can be learned from (one class only, constant targets, NaN, none).
        """

    @abstractmethod
    def examples(self, films: Films, labels: Any, drawing: Drawing) -> Examples:
        """One epoch's examples, in the order of films and shots.

        Raises:
            FeatureError: films or labels that give no example, or labels that the head does not know.
        """

    def read(self, embedded: Tensor, examples: Examples) -> tuple[Tensor, Tensor]:
        """What the model reads of embedded examples, and its targets; has no parameters.

        Args:
            embedded: (examples, sequences, length, E); zeros where rows are -1.
            examples: as many, on the same sequences.

        Returns:
            inputs (units, ...) and targets (units, ...): units are examples, or rows where a head reads every row.
        """
        return embedded, examples.targets

    @abstractmethod
    def model(self, width: int, config: HeadConfig) -> nn.Module:
        """A new model for embeddings of ``width`` E; its parameters go into the head's file."""

    @abstractmethod
    def loss(self, model: nn.Module, inputs: Tensor, targets: Tensor, config: HeadConfig) -> Tensor | None:
        """Mean loss of a batch of units; None where nothing of it can be learned."""

    @abstractmethod
    def predict(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Predictions (units, ...), such as probabilities or decoded token ids."""

    @abstractmethod
    def metrics(self, predictions: Tensor, targets: Tensor, films: Films) -> dict[str, float]:
        """Figures of all units of ``films`` in the order of their examples."""

    def to_dict(self) -> dict[str, Any]:
        """The head's fields, as JSON values."""
        return dataclasses.asdict(self)  # type: ignore[call-overload, no-any-return]  # every head is a dataclass

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The head of ``to_dict``, lists as tuples."""
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


class Standard(nn.Module):
    """Inputs (..., width) less their mean, over their spread; as they are until fitted."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def fit(self, inputs: Tensor) -> None:
        """Take mean and spread over all rows that are not zeros, which are padding."""
        rows = inputs.flatten(0, -2)
        rows = rows[rows.any(1)]
        self.mean = rows.mean(0)
        self.scale = 1 / rows.std(0, correction=0).clamp_min(1e-2)

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs of the same shape."""
        return (inputs - self.mean) * self.scale


class Layers(nn.Module):
    """Dropout and one linear layer, or hidden layers before it, as the families' own heads."""

    def __init__(self, width: int, outputs: int, config: HeadConfig) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.head_dropout)
        self.names = hidden_layers(config.head_size, config.num_hidden)
        for name in self.names:
            self.add_module(name, nn.Linear(width, config.head_size))
            width = config.head_size
        self.head = nn.Linear(width, outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs (..., width) to outputs (..., outputs)."""
        h = self.dropout(inputs)
        for name in self.names:
            h = self.dropout(functional.gelu(self.get_submodule(name)(h)))
        outputs: Tensor = self.head(h)
        return outputs


class LinearHead(nn.Module):
    """``Layers`` of standardised embeddings."""

    def __init__(self, width: int, outputs: int, config: HeadConfig) -> None:
        super().__init__()
        self.standard = Standard(width)
        self.layers = Layers(width, outputs, config)

    def forward(self, inputs: Tensor) -> Tensor:
        """Embeddings (..., width) to outputs (..., outputs)."""
        outputs: Tensor = self.layers(self.standard(inputs))
        return outputs

    def folded(self) -> dict[str, Tensor]:
        """Tensors ``hidden.weight`` and so on of the same function of embeddings as they are, in float32."""
        tensors = {name: tensor.detach().double() for name, tensor in self.layers.named_parameters()}
        first = (*self.layers.names, "head")[0]
        weight = tensors[f"{first}.weight"] * self.standard.scale.double()
        tensors[f"{first}.bias"] = tensors[f"{first}.bias"] - weight @ self.standard.mean.double()
        return {name: tensor.float() for name, tensor in (tensors | {f"{first}.weight": weight}).items()}

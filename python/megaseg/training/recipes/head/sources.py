"""Where a head's mini-batches come from: embeddings made once, or an encoder whose weights are trained as well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from megaseg.training.recipes.head.config import HeadConfig
from megaseg.training.recipes.head.encoder import Encoder, layout_of, reach_of
from megaseg.training.recipes.head.films import Films
from megaseg.training.recipes.head.memory import check_batch, check_embeddings
from megaseg.training.recipes.head.protocol import Drawing, Examples, Head

_ROWS = 16_384  # embedded at once
_EVALUATION = 1 << 20  # the epoch whose draws evaluation takes
Units = tuple[Tensor, Tensor]


class HeadModel(nn.Module):
    """A head's model, and the encoder if its weights are trained, too."""

    def __init__(self, model: nn.Module, encoder: Encoder | None) -> None:
        super().__init__()
        self.model, self.encoder = model, encoder


@dataclass(frozen=True, slots=True)
class Part:
    """Films for training or for evaluation, with the labels that the head learns or is judged by."""

    head: Head
    films: Films
    labels: Any
    config: HeadConfig

    def drawn(self, encoder: Encoder, epoch: int, *, frozen: bool) -> Examples:
        """An epoch's training examples."""
        return self._examples(encoder, epoch, training=True, frozen=frozen)

    def judged(self, encoder: Encoder) -> Examples:
        """The examples of evaluation: the same for the same seed."""
        return self._examples(encoder, _EVALUATION, training=False, frozen=False)

    def embedded(self, encoder: Encoder, examples: Examples) -> Units:
        """What the head's model reads of examples, and its targets: (units, ...) both."""
        parts: list[Units] = []
        size = max(1, _ROWS // examples.rows[0].numel())
        for chosen in torch.split(torch.arange(len(examples)), size):
            own = examples[chosen].trimmed()
            parts.append(self.head.read(encoder.embed(self.films, own.rows), own))
            if len(parts) == 1:
                check_embeddings(parts[0][0], len(chosen), len(examples))
        inputs, targets = zip(*parts, strict=True)
        return torch.cat(inputs), torch.cat(targets)

    def _examples(self, encoder: Encoder, epoch: int, *, training: bool, frozen: bool) -> Examples:
        rng = np.random.default_rng([self.config.seed, epoch])
        own = encoder.config
        drawing = Drawing(self.config, *layout_of(own), rng, training, frozen, reach_of(own))
        return self.head.examples(self.films, self.labels, drawing)


class Source(Protocol):
    """Mini-batches, which ``units`` turns into inputs and targets of the head's model."""

    count: int  # items of an epoch: units of a frozen encoder, examples of a trained one
    batch_size: int

    def items(self, epoch: int, chosen: Tensor) -> Any:
        """The items of a mini-batch, given their numbers."""

    def units(self, model: HeadModel, items: Any) -> Units:
        """Inputs and targets of a mini-batch."""

    def judged(self, model: HeadModel) -> Units:
        """Inputs and targets of the validation films."""


class Frozen:
    """Embeddings of all examples, made once."""

    def __init__(self, encoder: Encoder, train: Part, validation: Part) -> None:
        self.batch_size = train.config.frozen_batch_size
        draws = train.config.draws if train.head.drawn else 1
        examples = [train.drawn(encoder, draw, frozen=True) for draw in range(draws)]
        with torch.no_grad():
            self._train = train.embedded(encoder, Examples.joined(examples))
            self._judged = validation.embedded(encoder, validation.judged(encoder))
        self.inputs = self._train[0]
        self.count = len(self.inputs)

    def items(self, epoch: int, chosen: Tensor) -> Units:
        """Embedded units."""
        return self._train[0][chosen], self._train[1][chosen]

    def units(self, model: HeadModel, items: Units) -> Units:
        """The units as they are."""
        return items

    def judged(self, model: HeadModel) -> Units:
        """Units of the validation films, embedded once."""
        return self._judged


class FineTuned:
    """Examples, which the trained encoder embeds in every mini-batch."""

    def __init__(self, encoder: Encoder, train: Part, validation: Part) -> None:
        self.batch_size = train.config.batch_size
        self._encoder, self._train, self._validation = encoder, train, validation
        self._judged = validation.judged(encoder)
        self._epoch, self._examples = 0, train.drawn(encoder, 0, frozen=False)
        check_batch(encoder.config, self.batch_size * self._examples.rows[0].numel())
        self.count = len(self._examples)  # to within a few of other epochs

    def items(self, epoch: int, chosen: Tensor) -> Examples:
        """Examples of an epoch; one that has fewer than the first gives some twice."""
        return self._of(epoch)[chosen % len(self._of(epoch))]

    def units(self, model: HeadModel, items: Examples) -> Units:
        """Examples as the encoder embeds them now."""
        encoder = model.encoder or self._encoder
        own = items.trimmed()
        return self._train.head.read(encoder.embed(self._train.films, own.rows), own)

    def judged(self, model: HeadModel) -> Units:
        """Validation examples as the encoder embeds them now."""
        return self._validation.embedded(model.encoder or self._encoder, self._judged)

    def _of(self, epoch: int) -> Examples:
        if epoch != self._epoch:
            self._epoch, self._examples = epoch, self._train.drawn(self._encoder, epoch, frozen=False)
        return self._examples


def batches(source: Source, seed: int, epoch: int) -> Iterator[Any]:
    """One epoch's mini-batches in random order."""
    generator = torch.Generator().manual_seed(seed * 100_003 + epoch)
    for chosen in torch.split(torch.randperm(source.count, generator=generator), source.batch_size):
        yield source.items(epoch, chosen)

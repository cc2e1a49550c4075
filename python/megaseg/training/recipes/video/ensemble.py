"""Ensembles of small networks, one for each set of films that is held out, trained side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from megaseg.engine.inputs.features import Features
from megaseg.engine.model.additive import AdditiveConfig
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.features.video.similarity import MODALITIES, RECIPE
from megaseg.models.additive import Additive
from megaseg.training.loop import Loop, Settings, Work, cosine
from megaseg.training.recipes.video.config import VideoConfig
from megaseg.training.recipes.video.films import Film, stacked, views

_LEAST = 1e-2  # of a column's deviation
Batch = tuple[dict[str, Tensor], Tensor, Tensor]  # rows by modality, labels, number of the film


@dataclass(frozen=True, slots=True)
class Scale:
    """Mean and deviation (columns,) of a modality's rows that are there; column 0, which says so, stays as it is."""

    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]

    @classmethod
    def of(cls, rows: NDArray[np.float32]) -> Scale:
        """The scale of rows; without any it changes nothing."""
        there = rows[rows[:, 0] > 0].astype(np.float64)
        if not len(there):
            return cls(np.zeros(rows.shape[1], np.float32), np.ones(rows.shape[1], np.float32))
        mean, deviation = there.mean(0), there.std(0) + _LEAST
        mean[0], deviation[0] = 0, 1
        return cls(mean.astype(np.float32), deviation.astype(np.float32))

    def scaled(self, rows: Tensor) -> Tensor:
        """Rows scaled; those that are not there stay zero."""
        return (rows - torch.from_numpy(self.mean) * rows[:, :1]) / torch.from_numpy(self.deviation)

    def folded(self, weight: NDArray[np.float32]) -> NDArray[np.float32]:
        """Weights (units, columns) of scaled rows as weights of rows."""
        own = weight.astype(np.float64) / self.deviation
        own[:, 0] -= own @ self.mean
        return own.astype(np.float32)


class Trainer:
    """Trains one ensemble for each set of names of ``held_out``, on all films but those."""

    def __init__(self, films: Mapping[str, Film], held_out: Sequence[set[str]], config: VideoConfig) -> None:
        self._config, self._names = config, list(films)
        rng = np.random.default_rng(config.seed)
        self._views: list[list[Features]] = [views(film, config.views, rng) for film in films.values()]
        some = [own for film in self._views for own in film]
        self._scales = {m.name: Scale.of(stacked(some, m.name)) for m in MODALITIES}
        trains = [[name not in held for name in films] for held in held_out]
        self._weights = torch.tensor(trains, dtype=torch.float32).repeat_interleave(config.members, 0).T
        self._settings = Settings(
            config.epochs,
            config.learning_rate,
            cosine(config.warmup),
            config.weight_decay,
            config.seed,
            gradient_clip=math.inf,
            reseed=True,
        )
        torch.manual_seed(config.seed)
        count, size = len(held_out) * config.members, config.member_size
        self._model = Additive(MODALITIES, count, size, config.dropout, config.hidden_dropout)

    def run(self, advance: Callable[[int], None] = lambda rows: None) -> list[Checkpoint]:
        """The ensembles' checkpoints, in the order of ``held_out``."""
        rows = sum(len(film[0].modalities["rhythm"]) - 1 for film in self._views)
        work = Work(self._batches, math.ceil(rows / self._config.batch_size), self._loss)
        loop: Loop[Additive, Batch, None] = Loop(self._model, work, self._settings)
        model, members = loop.run(on_batch=lambda batch: advance(len(batch[0][1]))), self._config.members
        return [self._checkpoint(model, slice(at, at + members)) for at in range(0, model.members, members)]

    def _checkpoint(self, model: Additive, members: slice) -> Checkpoint:
        tensors = model.tensors(members)
        for name, scale in self._scales.items():
            weight = f"modalities.{name}.hidden.weight"
            tensors[weight] = scale.folded(tensors[weight])
        return Checkpoint(AdditiveConfig("scene", MODALITIES, len(tensors[weight]), recipe=RECIPE), tensors)

    def _batches(self, epoch: int) -> Iterator[Sequence[Batch]]:
        rng = np.random.default_rng(self._settings.seed_of(epoch))
        chosen = [film[self._choice(len(film), rng)] for film in self._views]
        rows = {n: scale.scaled(torch.from_numpy(stacked(chosen, n))) for n, scale in self._scales.items()}
        labels = torch.from_numpy(np.concatenate([own.labels[:-1] for own in chosen if own.labels is not None])).float()
        films = torch.repeat_interleave(torch.tensor([own.num_shots - 1 for own in chosen]))
        order = torch.from_numpy(rng.permutation(len(labels)))
        for part in torch.split(order, self._config.batch_size):
            yield (({name: own[part] for name, own in rows.items()}, labels[part], films[part]),)

    def _choice(self, count: int, rng: np.random.Generator) -> int:
        return 0 if count == 1 or rng.random() < self._config.plain else int(rng.integers(1, count))

    def _loss(self, model: Additive, batch: Batch) -> Tensor:
        rows, labels, films = batch
        noisy = {n: own + self._config.noise * torch.randn_like(own) * (own != 0) for n, own in rows.items()}
        log_odds = model(noisy)
        losses = functional.binary_cross_entropy_with_logits(
            log_odds, labels[:, None].expand_as(log_odds), reduction="none"
        )
        weights = self._weights[films]
        return ((losses * weights).sum(0) / weights.sum(0).clip(1)).sum()

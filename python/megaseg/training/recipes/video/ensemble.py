"""Ensembles of small networks, one for each set of films that is held out, trained side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from megaseg.engine.inputs.features import Features
from megaseg.engine.model.additive import AdditiveConfig
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.features.video.similarity import MODALITIES, RECIPE
from megaseg.training.loop import Epoch, Loop, Settings, Work, cosine
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


class Ensembles(nn.Module):
    """``groups`` ensembles of ``members`` additive networks each; rows of a batch pass through all of them."""

    def __init__(self, config: VideoConfig, groups: int) -> None:
        super().__init__()
        self.config, self.groups = config, groups
        count, size = groups * config.members, config.member_size
        spread = {m.name: 1 / math.sqrt(m.feature_size) for m in MODALITIES}
        self.hidden = nn.ParameterDict(
            {m.name: spread[m.name] * torch.randn(count, m.feature_size, size) for m in MODALITIES}
        )
        self.head = nn.ParameterDict({m.name: torch.randn(count, size, 1) / math.sqrt(size) for m in MODALITIES})
        self.bias = nn.Parameter(torch.full((count, 1), -2.0))

    def forward(self, rows: Mapping[str, Tensor]) -> Tensor:
        """Log-odds (groups * members, batch) of a boundary."""
        total = self.bias
        for name, weight in self.hidden.items():
            own = rows[name].expand(len(weight), -1, -1)
            kept = functional.dropout(own, self.config.dropout, self.training)
            hidden = functional.dropout(torch.relu(kept @ weight), self.config.hidden_dropout, self.training)
            total = total + (hidden @ self.head[name])[..., 0]
        return total

    def checkpoint(self, group: int, scales: Mapping[str, Scale]) -> Checkpoint:
        """One ensemble as one network: hidden units of all members, and the mean of what they say."""
        members = self.config.members
        own = slice(group * members, (group + 1) * members)
        size = members * self.config.member_size
        tensors = {}
        for name, scale in scales.items():
            weight = self.hidden[name][own].detach().permute(0, 2, 1).reshape(size, -1).numpy()
            head = self.head[name][own].detach().reshape(size).numpy() / (2 * members)  # log-odds are a difference
            tensors[f"modalities.{name}.hidden.weight"] = scale.folded(weight)
            tensors[f"modalities.{name}.head.weight"] = np.stack([-head, head])
        bias = self.bias[own].detach().numpy().mean() / 2
        tensors["bias"] = np.array([-bias, bias], np.float32)
        config = AdditiveConfig("scene", MODALITIES, size, recipe=RECIPE)
        return Checkpoint(config, tensors)


class Trainer:
    """Trains one ensemble for each set of names of ``held_out``, on all films but those."""

    def __init__(self, films: Mapping[str, Film], held_out: Sequence[set[str]], config: VideoConfig) -> None:
        self._config, self._names = config, list(films)
        rng = np.random.default_rng(config.seed)
        self._views: list[list[Features]] = [views(film, config.views, rng) for film in films.values()]
        some = [own for film in self._views for own in film]
        self._scales = {m.name: Scale.of(stacked(some, m.name)) for m in MODALITIES}
        trains = [[name not in held for name in films] for held in held_out]
        self._weights = torch.tensor(trains, dtype=torch.float32).repeat_interleave(config.members, 0)
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
        self._model = Ensembles(config, len(held_out))

    def run(self, advance: Callable[[int], None] = lambda rows: None) -> list[Checkpoint]:
        """The ensembles' checkpoints, in the order of ``held_out``."""
        rows = sum(len(film[0].modalities["rhythm"]) - 1 for film in self._views)
        work = Work(self._batches, math.ceil(rows / self._config.batch_size), self._loss)
        loop: Loop[Ensembles, Batch, Epoch[None]] = Loop(self._model, work, self._settings)
        model = loop.run(on_batch=lambda batch: advance(len(batch[0][1])))
        return [model.checkpoint(group, self._scales) for group in range(model.groups)]

    def _batches(self, epoch: int) -> Iterator[Sequence[Batch]]:
        rng = np.random.default_rng(self._settings.seed_of(epoch))
        chosen = [film[self._choice(len(film), rng)] for film in self._views]
        rows = {n: scale.scaled(torch.from_numpy(stacked(chosen, n))) for n, scale in self._scales.items()}
        labels = torch.from_numpy(np.concatenate([own.labels[:-1] for own in chosen if own.labels is not None])).float()
        films = torch.repeat_interleave(torch.tensor([own.num_shots - 1 for own in chosen]))
        order = torch.from_numpy(rng.permutation(len(labels)))
        for part in order.split(self._config.batch_size):
            yield (({name: own[part] for name, own in rows.items()}, labels[part], films[part]),)

    def _choice(self, count: int, rng: np.random.Generator) -> int:
        return 0 if count == 1 or rng.random() < self._config.plain else int(rng.integers(1, count))

    def _loss(self, model: Ensembles, batch: Batch) -> Tensor:
        rows, labels, films = batch
        noisy = {n: own + self._config.noise * torch.randn_like(own) * (own != 0) for n, own in rows.items()}
        log_odds = model(noisy)
        losses = functional.binary_cross_entropy_with_logits(log_odds, labels.expand_as(log_odds), reduction="none")
        weights = self._weights[:, films]
        return ((losses * weights).sum(1) / weights.sum(1).clip(1)).sum()

"""Labelled movies as one long run of rows in memory, and the windows that training draws from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from megaseg.engine.inputs.features import Features
from megaseg.engine.inputs.modality import Modality
from megaseg.errors import FeatureError
from megaseg.training.config import TrainingConfig
from megaseg.training.scaling import Scaling

Batch = tuple[dict[str, Tensor], Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class Corpus:
    """``rows``: modality to (all shots, D_m); ``labels`` (all shots,); movie k is ``edges[k]:edges[k + 1]``."""

    names: tuple[str, ...]
    rows: Mapping[str, Tensor]
    labels: Tensor
    edges: Tensor
    recipe: str | None

    @classmethod
    def from_movies(cls, movies: Mapping[str, Features]) -> Corpus:
        """Join labelled movies.

        Raises:
            FeatureError: movies of different modalities, widths or recipes, or without labels.
        """
        first = next(iter(movies.values()))
        widths = {name: array.shape[1] for name, array in first.modalities.items()}
        for name, movie in movies.items():
            got = {m: array.shape[1] for m, array in movie.modalities.items()}
            if got != widths or movie.recipe != first.recipe or movie.labels is None:
                raise FeatureError(
                    f"{name}: expected labels, modalities {widths} and recipe {first.recipe}, got {got}, {movie.recipe}"
                )
        rows = {
            m: np.concatenate([movie.modalities[m].astype(np.float32) for movie in movies.values()]) for m in widths
        }
        labels = np.concatenate([movie.labels for movie in movies.values() if movie.labels is not None])
        edges = np.cumsum([0, *(movie.num_shots for movie in movies.values())])
        return cls(
            tuple(movies),
            {m: torch.from_numpy(array) for m, array in rows.items()},
            torch.from_numpy(labels.astype(np.int64)),
            torch.from_numpy(edges),
            first.recipe,
        )

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Names and widths, in the order of the files."""
        return tuple(Modality(name, rows.shape[1]) for name, rows in self.rows.items())

    def scaled(self, scalings: Mapping[str, Scaling]) -> Corpus:
        """The same movies with every modality scaled."""
        return dataclasses.replace(self, rows={name: scalings[name](rows) for name, rows in self.rows.items()})

    def centred_windows(self, length: int, batch: int) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        """Features and centres of every shot's window, edge shots repeated, as the engine does."""
        owner = torch.bucketize(torch.arange(len(self.labels)), self.edges, right=True) - 1
        offsets = torch.arange(length) - length // 2
        for centres in torch.split(torch.arange(len(self.labels)), batch):
            low, high = self.edges[owner[centres]], self.edges[owner[centres] + 1] - 1
            index = (centres[:, None] + offsets).clamp(low[:, None], high[:, None])
            yield {name: rows[index] for name, rows in self.rows.items()}, centres

    def training_windows(self, config: TrainingConfig, generator: torch.Generator) -> Iterator[Batch]:
        """One epoch in random order: features, labels (batch, L) and which rows count (batch, L)."""
        stride = config.window_stride
        starts, owners = [], []
        for movie in range(len(self.names)):
            low, high = int(self.edges[movie]), int(self.edges[movie + 1])
            phase = int(torch.randint(stride, (1,), generator=generator))
            starts.append(torch.arange(low - phase, high, stride))
            owners.append(torch.full_like(starts[-1], movie))
        start, owner = torch.cat(starts), torch.cat(owners)
        for chosen in torch.split(torch.randperm(len(start), generator=generator), config.batch_size):
            index, labels, counts = self._rows_of(start[chosen], owner[chosen], config, generator)
            yield {name: rows[index] for name, rows in self.rows.items()}, labels, counts

    def _rows_of(
        self, start: Tensor, owner: Tensor, config: TrainingConfig, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        low, high = self.edges[owner][:, None], self.edges[owner + 1][:, None] - 1
        skipped = torch.rand(len(start), config.max_length, generator=generator) < config.block_dropout
        skipped[:, 0] = False
        raw = start[:, None] + torch.arange(config.max_length) + skipped.long().cumsum(1)
        index = raw.clamp(low, high)
        # A boundary among left-out blocks moves to the last block before them.
        boundaries = functional.pad(self.labels.cumsum(0), (1, 0))  # boundaries before each row
        following = functional.pad(index[:, 1:], (0, 1))
        following[:, -1] = index[:, -1] + 1
        labels = (boundaries[following] > boundaries[index]).long()
        return index, labels, (raw >= low) & (raw < high)

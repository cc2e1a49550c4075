"""Labelled movies, joined row by row in memory, and the windows of rows that training and validation take."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from megaseg.engine.graph.sequences import windows
from megaseg.engine.inputs.features import Features
from megaseg.engine.inputs.modality import Modality
from megaseg.errors import FeatureError
from megaseg.training.scaling import Scaling


class WindowBatch(NamedTuple):
    """Training windows: ``features``, each (batch, L, D_m), ``labels`` (batch, L), and which rows count (batch, L)."""

    features: dict[str, Tensor]
    labels: Tensor
    counts: Tensor


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
            FeatureError: movies of different modalities, widths or recipes, without labels, or with tokens.
        """
        first = next(iter(movies.values()))
        widths = {name: array.shape[1] for name, array in first.modalities.items()}
        for name, movie in movies.items():
            movie.require_shots()
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
        """Features (batch, L, D_m) of the windows around all shots, as the engine takes them, and their centres."""
        edges = self.edges.tolist()
        own = [low + windows(0, high - low, length, high - low) for low, high in itertools.pairwise(edges)]
        index, centres = torch.from_numpy(np.concatenate(own)), torch.arange(edges[-1])
        for rows_of, middle in zip(torch.split(index, batch), torch.split(centres, batch), strict=True):
            yield {name: rows[rows_of] for name, rows in self.rows.items()}, middle

    def training_windows(
        self, length: int, stride: int, batch: int, generator: torch.Generator, block_dropout: float = 0.0
    ) -> Iterator[WindowBatch]:
        """One epoch in random order, windows of ``length`` rows every ``stride`` rows from a random phase.

        ``block_dropout`` is the share of rows left out of a window; a row outside the movie does not count.
        """
        starts, owners = [], []
        for movie in range(len(self.names)):
            low, high = int(self.edges[movie]), int(self.edges[movie + 1])
            phase = int(torch.randint(stride, (1,), generator=generator))
            starts.append(torch.arange(low - phase, high, stride))
            owners.append(torch.full_like(starts[-1], movie))
        start, owner = torch.cat(starts), torch.cat(owners)
        for chosen in torch.split(torch.randperm(len(start), generator=generator), batch):
            index, labels, counts = self._rows_of(start[chosen], owner[chosen], length, generator, block_dropout)
            yield WindowBatch({name: rows[index] for name, rows in self.rows.items()}, labels, counts)

    def _rows_of(
        self, start: Tensor, owner: Tensor, length: int, generator: torch.Generator, block_dropout: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        low, high = self.edges[owner][:, None], self.edges[owner + 1][:, None] - 1
        skipped = torch.rand(len(start), length, generator=generator) < block_dropout
        skipped[:, 0] = False
        raw = start[:, None] + torch.arange(length) + skipped.long().cumsum(1)
        index = raw.clamp(low, high)
        # A boundary among left-out blocks moves to the last block before them.
        boundaries = functional.pad(self.labels.cumsum(0), (1, 0))  # boundaries before each row
        following = functional.pad(index[:, 1:], (0, 1))
        following[:, -1] = index[:, -1] + 1
        labels = (boundaries[following] > boundaries[index]).long()
        return index, labels, (raw >= low) & (raw < high)

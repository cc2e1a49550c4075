"""Batches of scene pairs, each scene changed anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from megaseg.pipelines.mined_pairs import MinedPairs
from megaseg.training.recipes.pretrain.films import Films, ShotRows
from megaseg.training.recipes.scene_contrast.config import SceneContrastConfig

_NOTHING = -1  # in the place of a shot


@dataclass(frozen=True, slots=True)
class SceneBatch:
    """Two views a positive: features by modality (n, length, K) of either, and their ``owners`` (n, 2).

    An owner is the number of what gives a view no negatives: its movie, or its scene.
    """

    queries: dict[str, Tensor]
    keys: dict[str, Tensor]
    owners: Tensor

    def __len__(self) -> int:
        return len(self.owners)


class Positives(Protocol):
    """Positives of movies."""

    def __len__(self) -> int: ...

    def training(self, config: SceneContrastConfig, generator: torch.Generator) -> Iterator[SceneBatch]:
        """One epoch in random order, changed anew."""

    def fixed(self, length: int, most: int) -> SceneBatch:
        """At most ``most`` positives of scenes of ``length`` shots, always the same."""

    def owners(self) -> Tensor:
        """The distinct owners (n, 2) of all positives."""


@dataclass(frozen=True, slots=True)
class ScenePairs:
    """Scene pairs of ``films``: ``movies`` (P, 2) and ``first`` (P, 2), the first of ``window`` shots in each."""

    films: Films
    movies: Tensor
    first: Tensor
    window: int

    @classmethod
    def of(cls, films: Films, mined: MinedPairs, chosen: Tensor) -> ScenePairs:
        """The ``chosen`` ones (bool) of mined pairs, whose movies are all in ``films``."""
        number = {name: k for k, name in enumerate(films.names)}
        numbers = torch.tensor([number[name] for name in mined.names])
        movies, first = (torch.from_numpy(array).long()[chosen] for array in (mined.movies, mined.first))
        return cls(films, numbers[movies], first, mined.window)

    def __len__(self) -> int:
        return len(self.movies)

    def owners(self) -> Tensor:
        """The distinct pairs of movies (n, 2)."""
        distinct: Tensor = torch.unique(self.movies, dim=0)
        return distinct

    def training(self, config: SceneContrastConfig, generator: torch.Generator) -> Iterator[SceneBatch]:
        """One epoch in random order; which scene of a pair is the query is drawn, too."""
        order = torch.randperm(len(self), generator=generator)[: config.pairs_per_epoch or None]
        for chosen in torch.split(order, config.batch_size):
            turned = torch.rand(len(chosen), 1, generator=generator) < 0.5
            own = torch.rand(len(chosen), generator=generator) < config.own_share
            movies, first = (
                torch.where(turned, array[chosen].flip(1), array[chosen]) for array in (self.movies, self.first)
            )
            for array in (movies, first):
                array[own, 1] = array[own, 0]
            queries, keys = (self._changed(movies[:, k], first[:, k], config, generator) for k in (0, 1))
            yield SceneBatch(queries, keys, movies)

    def fixed(self, length: int, most: int) -> SceneBatch:
        """At most ``most`` pairs, evenly spaced, of scenes that are not changed."""
        chosen = spaced(len(self), most)
        movies, first = self.movies[chosen], self.first[chosen]
        offset = (self.window - length) // 2 + torch.arange(length)
        kept = torch.ones(len(self.films.rows), len(chosen), dtype=torch.bool)
        queries, keys = (self._features(movies[:, k], first[:, k, None] + offset, kept) for k in (0, 1))
        return SceneBatch(queries, keys, movies)

    def _changed(
        self, movies: Tensor, first: Tensor, config: SceneContrastConfig, generator: torch.Generator
    ) -> dict[str, Tensor]:
        shape, most = (len(movies), config.length), config.most_shift
        shift = torch.randint(-most, most + 1, (len(movies),), generator=generator)
        skipped = torch.rand(shape, generator=generator) < config.shot_drop_share
        begin = first + shift + (self.window - config.length) // 2
        shots = begin[:, None] + torch.arange(config.length) + skipped.long().cumsum(1)
        kept = kept_modalities(self.films, len(movies), config.drop_share, generator)
        return self._features(movies, shots, kept)

    def _features(self, movies: Tensor, shots: Tensor, kept: Tensor) -> dict[str, Tensor]:
        """Features of shots (n, length), counted in their movies, whose ends are repeated."""
        low, high = self.films.edges[movies], self.films.edges[movies + 1]
        return read(self.films, (low[:, None] + shots).clamp(low[:, None], high[:, None] - 1), kept)


def read(films: Films, shots: Tensor, kept: Tensor) -> dict[str, Tensor]:
    """Features (n, length, K) of shots (n, length), counted over all films, by modality where ``kept`` (M, n)."""
    features = {}
    for (name, rows), own in zip(films.rows.items(), kept, strict=True):
        assert isinstance(rows, ShotRows)
        features[name] = rows.values[rows.of[torch.where(own[:, None], shots, _NOTHING)]]
    return features


def kept_modalities(films: Films, count: int, drop_share: float, generator: torch.Generator) -> Tensor:
    """Which modalities (M, n) of so many views are read: at random, at least one of each view."""
    dropped = torch.rand(len(films.rows), count, generator=generator) < drop_share
    return ~dropped | dropped.all(0)


def spaced(count: int, most: int) -> Tensor:
    """At most ``most`` of the numbers below ``count``, evenly spaced."""
    return torch.from_numpy(np.linspace(0, count - 1, min(most, count)).round().astype(np.int64))

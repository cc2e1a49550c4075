"""Batches of pairs of movies, each movie of a batch read once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from megaseg.training.recipes.movie_similarity.pairs import MoviePairs
from megaseg.training.recipes.pretrain.films import Films, ShotRows

_NOTHING = -1  # in the place of a shot


@dataclass(frozen=True, slots=True)
class Movies:
    """Movies as they are read: ``features`` by modality (movies, n, K), ``there`` (movies, n), False for padding."""

    features: dict[str, Tensor]
    there: Tensor


@dataclass(frozen=True, slots=True)
class PairBatch:
    """Movies, the pairs among them (pairs, 2) by their number, and whether each is ``similar`` (pairs,)."""

    movies: Movies
    pairs: Tensor
    similar: Tensor

    def __len__(self) -> int:
        return len(self.pairs)


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads shots of ``films``, at most ``most`` of each."""

    films: Films
    most: int

    def drawn(self, chosen: Tensor, drop_share: float, generator: torch.Generator) -> Movies:
        """Movies by number, of longer ones a shot of each of ``most`` equal parts, with modalities left out."""
        low, count = self.films.edges[chosen, None], self.films.edges.diff()[chosen, None]
        parts = torch.arange(min(self.most, int(count.max())))
        begin, end = parts * count // self.most, (parts + 1) * count // self.most
        share = torch.rand(len(chosen), len(parts), generator=generator)
        part = begin + (share * (end - begin)).long().clamp(max=(end - begin - 1).clamp(min=0))
        shots = torch.where(parts < count, low + torch.where(count > self.most, part, parts), _NOTHING)
        dropped = torch.rand(len(self.films.rows), len(chosen), generator=generator) < drop_share
        dropped &= ~dropped.all(0)
        return self._movies(shots, dropped)

    def whole(self, film: int) -> Movies:
        """One movie with all its shots."""
        return self._movies(self._own(torch.tensor([film])), torch.zeros(len(self.films.rows), 1, dtype=torch.bool))

    def _own(self, chosen: Tensor) -> Tensor:
        """Shots (movies, n) of each movie, counted over all, then nothing."""
        low, high = self.films.edges[chosen], self.films.edges[chosen + 1]
        places = low[:, None] + torch.arange(int((high - low).max()))
        return torch.where(places < high[:, None], places, _NOTHING)

    def _movies(self, shots: Tensor, dropped: Tensor) -> Movies:
        features = {}
        for (name, rows), own in zip(self.films.rows.items(), dropped, strict=True):
            assert isinstance(rows, ShotRows)
            features[name] = rows.values[rows.of[torch.where(own[:, None], _NOTHING, shots)]]
        return Movies(features, shots != _NOTHING)


def pairs_of_movies(
    pairs: MoviePairs, numbers: Tensor, reader: Reader, size: int, drop_share: float, generator: torch.Generator
) -> Iterator[PairBatch]:
    """One epoch of batches of all pairs among ``size`` movies at random, as many batches as cover the movies.

    ``numbers`` (names,) are those of the pairs' names in the films.
    """
    every, similar = numbers[torch.from_numpy(pairs.pairs).long()], torch.from_numpy(pairs.similar)
    movies = torch.unique(every)
    place = torch.full((len(reader.films.names),), -1)
    for _ in range(-(-len(movies) // size)):
        chosen = movies[torch.randperm(len(movies), generator=generator)[:size]].sort().values
        place.fill_(-1)[chosen] = torch.arange(len(chosen))
        inside = (place[every] >= 0).all(1)
        yield PairBatch(reader.drawn(chosen, drop_share, generator), place[every[inside]], similar[inside])


def similar_and_others(
    pairs: MoviePairs, numbers: Tensor, reader: Reader, size: int, drop_share: float, generator: torch.Generator
) -> Iterator[PairBatch]:
    """One epoch of every similar pair once in random order, in batches of ``size`` with as many others at random.

    ``numbers`` (names,) are those of the pairs' names in the films.
    """
    every, similar = torch.from_numpy(pairs.pairs).long(), torch.from_numpy(pairs.similar)
    alike, others = similar.nonzero()[:, 0], (~similar).nonzero()[:, 0]
    order = alike[torch.randperm(len(alike), generator=generator)]
    for part in torch.split(order, size // 2):
        drawn = others[torch.randint(len(others), (len(part),), generator=generator)]
        chosen = torch.cat([part, drawn])
        unique, places = torch.unique(numbers[every[chosen]], return_inverse=True)
        yield PairBatch(reader.drawn(unique, drop_share, generator), places, similar[chosen])

"""Films to pretrain on, joined row by row in memory: rows of shots, rows of tokens, and what a film does not have."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from megaseg.engine.inputs.features import Features
from megaseg.engine.inputs.tokens import tokens_of_rows
from megaseg.errors import FeatureError
from megaseg.training.scaling import Scaling, fit_scalings

_MOST_FITTED = 100_000  # rows that scalings are fitted on, evenly spaced


@dataclass(frozen=True, slots=True)
class Rows:
    """One modality of all films: ``values`` (rows + 1, K) scaled, ``said`` (rows + 1,) where a row is not all zeros.

    The last row stands for everything that is not there: a row of zeros, scaled. Shots are counted over all films, and
    one more, the last, is no shot: ``has`` (shots + 1,) says which are of a film with the modality.
    """

    values: Tensor
    said: Tensor
    has: Tensor


@dataclass(frozen=True, slots=True)
class ShotRows(Rows):
    """A row a shot: ``of`` (shots + 1,) is the row of each shot."""

    of: Tensor


@dataclass(frozen=True, slots=True)
class TokenRows(Rows):
    """Tokens of shots, in order: those of shot j are ``first[j]:first[j + 1]``, of (shots + 1,)."""

    first: Tensor


@dataclass(frozen=True, slots=True)
class Films:
    """``rows`` by modality; film f has the shots ``edges[f]:edges[f + 1]``, counted over all films."""

    names: tuple[str, ...]
    edges: Tensor
    rows: Mapping[str, ShotRows | TokenRows]

    @classmethod
    def scaled(cls, movies: Mapping[str, Features], scalings: Mapping[str, Scaling], language: str | None) -> Films:
        """Films with every modality of ``scalings`` scaled.

        Raises:
            FeatureError: values too large to be scaled; names the film.
        """
        edges = torch.tensor([0, *itertools.accumulate(movie.num_shots for movie in movies.values())])
        rows = {name: _rows(movies, name, own, edges, name == language) for name, own in scalings.items()}
        return cls(tuple(movies), edges, rows)


def shot_modalities(movies: Mapping[str, Features], named: Sequence[str]) -> list[str]:
    """The modalities ``named``, or all that have a row a shot where none is."""
    known = dict.fromkeys(name for movie in movies.values() for name in movie.modalities)
    tokens = {name for movie in movies.values() for name in movie.token_shots}
    return list(named or (name for name in known if name not in tokens))


def fitted(
    movies: Mapping[str, Features], modalities: Sequence[str], components: Mapping[str, int]
) -> dict[str, Scaling]:
    """Scalings of the modalities, fitted on the rows that are not all zeros.

    Raises:
        FeatureError: a modality of fewer than two such rows. CheckpointError: as ``fit_scalings``.
    """
    rows = {}
    for name in modalities:
        parts = [movie.modalities[name] for movie in movies.values() if name in movie.modalities]
        step = max(1, sum(map(len, parts)) // _MOST_FITTED)
        said = [part[::step][part[::step].any(1)].astype(np.float32) for part in parts]
        if sum(map(len, said)) < 2:
            raise FeatureError(f"{name}: expected at least 2 rows that are not zeros in the films to train on")
        rows[name] = torch.from_numpy(np.concatenate(said))
    return fit_scalings(rows, components)


def _rows(
    movies: Mapping[str, Features], name: str, scaling: Scaling, edges: Tensor, tokens: bool
) -> ShotRows | TokenRows:
    width = len(scaling.mean)
    empty: tuple[NDArray[Any], NDArray[np.int64]] = np.zeros((0, width), np.float32), np.zeros(0, np.int64)
    parts, shots = [], []
    for movie, first in zip(movies.values(), edges.tolist(), strict=False):
        own, places = empty if name not in movie.modalities else _placed(movie, name, tokens)
        parts.append(own)
        shots.append(torch.from_numpy(places + first))
    values, said = _scaled(list(movies), name, parts, scaling)
    has = torch.zeros(int(edges[-1]) + 1, dtype=torch.bool)
    for own, low, high in zip(parts, edges.tolist(), edges.tolist()[1:], strict=False):
        has[low:high] = len(own) > 0
    every = torch.cat(shots)
    if tokens:
        return TokenRows(values, said, has, torch.searchsorted(every, torch.arange(len(has))))
    of = torch.full((len(has),), len(values) - 1)
    of[every] = torch.arange(len(every))
    return ShotRows(values, said, has, of)


def _placed(movie: Features, name: str, tokens: bool) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """A film's rows and their shots; language by shot is a token where it is not all zeros."""
    array = movie.modalities[name]
    if not tokens:
        return array, np.arange(len(array))
    given = movie.token_shots.get(name)
    array, shots = tokens_of_rows(array) if given is None else (array, given)
    return array, shots.astype(np.int64)


def _scaled(films: Sequence[str], name: str, parts: Sequence[NDArray[Any]], scaling: Scaling) -> tuple[Tensor, Tensor]:
    """All rows scaled, and which are not all zeros; after them the row that stands for nothing."""
    edges = [0, *itertools.accumulate(map(len, parts))]
    values = torch.empty(edges[-1] + 1, scaling.basis.shape[1])
    said = torch.zeros(len(values), dtype=torch.bool)
    for film, own, low, high in zip(films, parts, edges, edges[1:], strict=False):
        values[low:high] = scaling(torch.from_numpy(own.astype(np.float32)))
        said[low:high] = torch.from_numpy(own.any(1))
        if not torch.isfinite(values[low:high]).all():
            raise FeatureError(
                f"{film}: {name}: expected values that float32 can scale, got some up to {abs(own).max()}"
            )
    values[-1] = scaling(torch.zeros(1, scaling.mean.shape[0]))[0]
    return values, said

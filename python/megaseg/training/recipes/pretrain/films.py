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

    The last row stands for everything that is not there: a row of zeros, scaled. Film f's rows are
    ``edges[f]:edges[f + 1]``: its shots, or none of a film without the modality; tokens have the shots ``shots``
    (rows,), counted over all films.
    """

    values: Tensor
    said: Tensor
    edges: Tensor
    shots: Tensor | None = None

    @property
    def nothing(self) -> int:
        """The row that stands for what is not there."""
        return len(self.values) - 1


@dataclass(frozen=True, slots=True)
class Films:
    """``rows`` by modality; film f has the shots ``edges[f]:edges[f + 1]``, counted over all films."""

    names: tuple[str, ...]
    edges: Tensor
    rows: Mapping[str, Rows]

    @classmethod
    def scaled(cls, movies: Mapping[str, Features], scalings: Mapping[str, Scaling], language: str | None) -> Films:
        """Films with every modality of ``scalings`` scaled.

        Raises:
            FeatureError: values too large to be scaled; names the film.
        """
        edges = _edges([movie.num_shots for movie in movies.values()])
        rows = {name: _rows(movies, name, scalings[name], edges if name == language else None) for name in scalings}
        return cls(tuple(movies), edges, rows)


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


def tokens(movie: Features, name: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """A film's language tokens (s, D) and their shots (s,): of a row a shot, those that are not all zeros."""
    array = movie.modalities[name]
    given = movie.token_shots.get(name)
    array, shots = tokens_of_rows(array) if given is None else (array, given)
    return array, shots.astype(np.int64)


def _rows(movies: Mapping[str, Features], name: str, scaling: Scaling, shot_edges: Tensor | None) -> Rows:
    width = len(scaling.mean)
    parts, shots = [], []
    for number, movie in enumerate(movies.values()):
        own: NDArray[Any] = np.zeros((0, width), np.float32)
        places: NDArray[np.int64] = np.zeros(0, np.int64)
        if name in movie.modalities and shot_edges is None:
            own = movie.modalities[name]
        elif name in movie.modalities and shot_edges is not None:
            own, places = tokens(movie, name)
            places = places + int(shot_edges[number])
        parts.append(own)
        shots.append(places)
    edges = _edges(list(map(len, parts)))
    values = torch.empty(int(edges[-1]) + 1, scaling.basis.shape[1])
    said = torch.zeros(len(values), dtype=torch.bool)
    for film, own, (low, high) in zip(movies, parts, itertools.pairwise(edges.tolist()), strict=True):
        values[low:high] = scaling(torch.from_numpy(own.astype(np.float32)))
        said[low:high] = torch.from_numpy(own.any(1))
        if not torch.isfinite(values[low:high]).all():
            raise FeatureError(
                f"{film}: {name}: expected values that float32 can scale, got some up to {abs(own).max()}"
            )
    values[-1] = scaling(torch.zeros(1, width))[0]
    return Rows(values, said, edges, None if shot_edges is None else torch.from_numpy(np.concatenate(shots)))


def _edges(counts: Sequence[int]) -> Tensor:
    return torch.tensor([0, *itertools.accumulate(counts)])

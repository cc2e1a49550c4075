"""Films joined row by row in memory, and the batches of sequences that an encoder reads of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from megaseg.engine.inputs.features import Features
from megaseg.engine.inputs.modality import Modality
from megaseg.errors import FeatureError
from megaseg.models.long_range import LongRangeBatch
from megaseg.training.scaling import Scaling


@dataclass(frozen=True, slots=True)
class Tokens:
    """Rows (tokens, D_m) in the order of their shots; those of joined row r are ``edges[r]:edges[r + 1]``."""

    values: Tensor
    edges: Tensor


@dataclass(frozen=True, slots=True)
class Films:
    """``rows``: modality to (all shots, D_m); film k is ``edges[k]:edges[k + 1]``; ``tokens``: token modalities.

    ``labels`` (all shots,) are the films' own, 1 = the last shot of its scene; None unless every film has them.
    ``times`` are each film's start and end ticks of shots, None where a film has none.
    """

    names: tuple[str, ...]
    edges: NDArray[np.int64]
    rows: Mapping[str, Tensor]
    tokens: Mapping[str, Tokens]
    labels: Tensor | None
    recipe: str | None
    times: tuple[NDArray[np.int64] | None, ...]

    @classmethod
    def of(cls, movies: Mapping[str, Features], modalities: tuple[Modality, ...], language: str | None = None) -> Films:
        """Join films for an encoder; a modality that a film does not have is zeros, others than these are left out.

        ``language`` names the modality whose rows are tokens; as one row a shot, rows of zeros are no tokens.

        Raises:
            FeatureError: no films, a wrong width, films of different recipes, or a film with none of the modalities.
        """
        if not movies:
            raise FeatureError("films: expected at least one, got none")
        recipes = {movie.recipe for movie in movies.values()}
        if len(recipes) > 1:
            raise FeatureError(f"films: expected features of one recipe, got {sorted(map(str, recipes))}")
        for name, movie in movies.items():
            _require_modalities(name, movie, modalities)
        shots = {name: shots_of(movie) for name, movie in movies.items()}
        rows, tokens = {}, {}
        for modality in modalities:
            parts = [(movie, shots[name]) for name, movie in movies.items()]
            if modality.name == language:
                tokens[language] = _joined_tokens(parts, modality)
            else:
                joined = [_rows_of(movie, modality, count) for movie, count in parts]
                rows[modality.name] = torch.from_numpy(np.concatenate(joined))
        own = [movie.labels for movie in movies.values() if movie.labels is not None]
        labels = torch.from_numpy(np.concatenate(own).astype(np.int64)) if len(own) == len(movies) else None
        edges = np.cumsum([0, *shots.values()])
        times = tuple(movie.times for movie in movies.values())
        return cls(tuple(movies), edges, rows, tokens, labels, recipes.pop(), times)

    def span(self, film: int) -> tuple[int, int]:
        """First row and end of a film's rows."""
        return int(self.edges[film]), int(self.edges[film + 1])

    def values(self) -> dict[str, Tensor]:
        """Rows of every modality, tokens as well, to fit scalings on."""
        return {**self.rows, **{name: tokens.values for name, tokens in self.tokens.items()}}

    def scaled(self, scalings: Mapping[str, Scaling]) -> Films:
        """The same films with every modality scaled."""
        tokens = {
            name: dataclasses.replace(own, values=scalings[name](own.values)) for name, own in self.tokens.items()
        }
        rows = {name: scalings[name](own) for name, own in self.rows.items()}
        return dataclasses.replace(self, rows=rows, tokens=tokens)

    def batch(self, index: Tensor, most: int) -> LongRangeBatch:
        """Sequences ``index`` (batch, length) of joined rows, -1 = padding, for an encoder of at most ``most`` shots.

        A sequence without tokens has one of zeros, which is of no shot.
        """
        real, safe = index >= 0, index.clamp_min(0)
        features = {name: rows[safe] * real[..., None] for name, rows in self.rows.items()}
        there = dict.fromkeys(self.rows, real)
        token_shots = None
        for name, tokens in self.tokens.items():
            features[name], there[name], token_shots = _tokens_of(tokens, safe, real, most)
        return LongRangeBatch(features, there, token_shots)


def shots_of(movie: Features) -> int:
    """Shots of a film, of which a token modality may have more or fewer rows."""
    return movie.num_shots


def token_shots_of(movie: Features, name: str) -> NDArray[np.int32] | None:
    """The shot of each row of a token modality; None where a modality has one row a shot."""
    return dict(getattr(movie, "token_shots", {})).get(name)


def _require_modalities(name: str, movie: Features, modalities: tuple[Modality, ...]) -> None:
    own = {m.name: m.feature_size for m in modalities}
    widths = {m: array.shape[1] for m, array in movie.modalities.items() if m in own}
    wrong = {m: width for m, width in widths.items() if width != own[m]}
    if wrong or not widths:
        got = {m: array.shape[1] for m, array in movie.modalities.items()}
        raise FeatureError(f"{name}: expected some of the encoder's modalities {own}, got {got}")


def _rows_of(movie: Features, modality: Modality, shots: int) -> NDArray[np.float32]:
    if modality.name not in movie.modalities:
        return np.zeros((shots, modality.feature_size), np.float32)
    if token_shots_of(movie, modality.name) is not None:
        raise FeatureError(f"{modality.name}: expected one row a shot for this encoder, got tokens")
    return movie.modalities[modality.name].astype(np.float32)


def _joined_tokens(parts: list[tuple[Features, int]], modality: Modality) -> Tokens:
    values, counts = [], []
    for movie, shots in parts:
        array = movie.modalities.get(modality.name, np.zeros((0, modality.feature_size), np.float32))
        given = token_shots_of(movie, modality.name)
        shot_of = np.flatnonzero(array.any(axis=1)) if given is None else given
        array = array[shot_of] if given is None else array
        values.append(array.astype(np.float32))
        counts.append(np.bincount(shot_of, minlength=shots))
    edges = np.cumsum(np.concatenate([[0], *counts]))
    return Tokens(torch.from_numpy(np.concatenate(values)), torch.from_numpy(edges.astype(np.int64)))


def _tokens_of(tokens: Tokens, rows: Tensor, real: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens (batch, s, D) of sequences, those that are there, and their places; one of zeros where there is none."""
    begins = tokens.edges[rows]
    counts = (tokens.edges[rows + 1] - begins) * real  # (batch, length)
    width = max(1, int(counts.sum(1).max()))
    ends = counts.cumsum(1)
    place = torch.arange(width).expand(len(rows), -1).contiguous()
    shot = torch.searchsorted(ends, place, right=True)  # (batch, s); length behind the last token
    there = shot < rows.shape[1]
    safe = shot.clamp_max(rows.shape[1] - 1)
    source = begins.gather(1, safe) + place - (ends - counts).gather(1, safe)
    values = torch.zeros(*place.shape, tokens.values.shape[1])
    values[there] = tokens.values[source[there]]
    shots = torch.where(there, shot, most)
    there[:, 0] = True  # a source is never empty
    return values, there, shots

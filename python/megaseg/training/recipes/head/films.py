"""Films joined row by row in memory, and the batches of sequences that an encoder reads of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from megaseg.engine.backends.excerpts import model_rows
from megaseg.engine.inputs.features import Features
from megaseg.engine.model.config import ModelConfig
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
    def of(cls, movies: Mapping[str, Features], config: ModelConfig) -> Films:
        """Join films for an encoder, as the engine reads them: a modality that a film does not have is zeros.

        Raises:
            FeatureError: no films, films that do not fit the encoder, or films of different recipes.
        """
        if not movies:
            raise FeatureError("films: expected at least one, got none")
        recipes = {movie.recipe for movie in movies.values()}
        if len(recipes) > 1:
            raise FeatureError(f"films: expected features of one recipe, got {sorted(map(str, recipes))}")
        arrays = [_arrays(name, movie, config) for name, movie in movies.items()]
        shots = [movie.num_shots for movie in movies.values()]
        joined = [np.concatenate(parts) for parts in zip(*arrays, strict=True)]
        rows = {m.name: torch.from_numpy(joined[place]) for place, m in enumerate(config.modalities)}
        tokens, language = {}, config.token_modality
        if language is not None:
            counts = [np.bincount(own[-1][:, 0], minlength=most) for own, most in zip(arrays, shots, strict=True)]
            edges = torch.from_numpy(np.cumsum(np.concatenate([[0], *counts])))
            tokens[language] = Tokens(rows.pop(language), edges)
        own = [movie.labels for movie in movies.values() if movie.labels is not None]
        labels = torch.from_numpy(np.concatenate(own).astype(np.int64)) if len(own) == len(movies) else None
        times = tuple(movie.times for movie in movies.values())
        return cls(tuple(movies), np.cumsum([0, *shots]), rows, tokens, labels, recipes.pop(), times)

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


def _arrays(name: str, movie: Features, config: ModelConfig) -> list[NDArray[Any]]:
    try:
        return model_rows(config, movie)
    except FeatureError as error:
        raise type(error)(f"{name}: {error}") from error


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

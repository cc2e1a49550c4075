"""Movies that are similar, by what a movie encoder makes of them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.engine import Engine
from megaseg.engine.inputs.feature_files import FeatureSource, as_features
from megaseg.engine.model.movie_encoder import SIMILARITY, MovieEncoderConfig
from megaseg.errors import UnsupportedError
from megaseg.features.video.similarity import prepared


def movie_vectors(engine: Engine, movies: Iterable[FeatureSource]) -> NDArray[np.float32]:
    """A vector (movies, E) a movie, float32: the mean of its shots' rows of output ``similarity``.

    Raises:
        FeatureError: features that do not fit the encoder.
        UnsupportedError: a model of another family.
    """
    config = _movie_encoder(engine)
    vectors = np.zeros((0, config.output_size), np.float32)
    means = [
        engine.outputs(prepared(as_features(movie), config.recipe), (SIMILARITY,))[SIMILARITY].mean(0, dtype=np.float64)
        for movie in movies
    ]
    return np.stack(means).astype(np.float32) if means else vectors


def similarities(
    engine: Engine, vectors: NDArray[np.float32], others: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """P(similar) (n, m) of each movie with each of the others, by ``movie_vectors``; of one another without others.

    Raises:
        UnsupportedError: a model of another family.
    """
    config = _movie_encoder(engine)
    a = _unit(vectors)
    cosines = a @ (a if others is None else _unit(others)).T
    return np.asarray(1 / (1 + np.exp(-(config.scale * cosines + config.offset))), np.float32)


def _movie_encoder(engine: Engine) -> MovieEncoderConfig:
    if not isinstance(engine.config, MovieEncoderConfig):
        raise UnsupportedError(f"movies: expected a model of family movie_encoder, got one of {engine.config.family}")
    return engine.config


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Rows of length 1; of zeros zeros."""
    wide = np.asarray(rows, np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    unit: NDArray[np.float64] = wide / np.where(lengths > 0, lengths, 1.0)
    return unit

"""Vectors of scenes: one of unit length for each range of shots, by any encoder of shots."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from megaseg.engine.backends.protocol import EMBEDDING, Excerpt
from megaseg.engine.engine import Engine
from megaseg.engine.graph.sequences import Windows
from megaseg.engine.inputs.feature_files import FeatureSource, as_features
from megaseg.engine.inputs.features import Features
from megaseg.engine.model.family import width_of
from megaseg.errors import FeatureError
from megaseg.features.video.similarity import prepared
from megaseg.pipelines.embedding import require_embedding


def scene_vectors(engine: Engine, features: FeatureSource, scenes: ArrayLike) -> NDArray[np.float32]:
    """A vector (S, E) of unit length a scene, float32; zeros where an encoder gives zeros.

    An encoder of centred windows reads each scene by itself: the mean of its complete windows, and of a scene shorter
    than a window the row of its middle shot, the scene's edges repeated. Of other encoders the mean of the scene's rows
    of the whole movie.

    Args:
        engine: an encoder of shots.
        features: one movie, as of ``Engine.embed``.
        scenes: (S, 2), the first and last shot of each scene, from 0, in any order.

    Raises:
        FeatureError: features that do not fit the encoder, or scenes that do not lie in the movie.
        UnsupportedError: a model that gives no embedding of each shot.
    """
    require_embedding(engine.config)
    movie = prepared(as_features(features), engine.config.recipe)
    ranges = _checked(scenes, movie.num_shots)
    own = engine.config.sequences
    if isinstance(own, Windows):
        rows = _of_windows(engine, movie, ranges, own.length)
    else:
        whole = engine.embed(movie)
        rows = [whole[first : last + 1] for first, last in ranges.tolist()]
    size = width_of(engine.config, EMBEDDING)
    means = np.array([own.mean(0, dtype=np.float64) for own in rows], np.float64).reshape(-1, size)
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    return (means / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)


def _of_windows(engine: Engine, movie: Features, scenes: NDArray[np.int64], length: int) -> list[NDArray[np.float32]]:
    """Rows of the complete windows of each scene, or its middle row."""
    arrays = engine.to_model_rows(movie)
    excerpts = []
    for first, last in scenes.tolist():
        shots = last - first + 1
        half = min(length, shots) // 2
        end = shots - half if shots >= length else half + 1
        excerpts.append(Excerpt([array[first : last + 1] for array in arrays], half, end))
    return [rows for (rows,) in engine.backend.run(excerpts, (EMBEDDING,))] if excerpts else []


def _checked(scenes: ArrayLike, shots: int) -> NDArray[np.int64]:
    """First and last shots (S, 2), which lie in a movie of so many shots."""
    ranges = np.asarray(scenes)
    if ranges.size == 0:
        return np.zeros((0, 2), np.int64)
    if ranges.ndim != 2 or ranges.shape[1] != 2 or ranges.dtype.kind not in "iu":
        raise FeatureError(f"scenes: expected integers (scenes, 2), got {ranges.dtype} {ranges.shape}")
    wrong = np.flatnonzero((ranges[:, 0] < 0) | (ranges[:, 1] >= shots) | (ranges[:, 0] > ranges[:, 1]))
    if len(wrong):
        first, last = ranges[wrong[0]].tolist()
        expected = f"expected first and last shots from 0 to {shots - 1}"
        raise FeatureError(f"scenes: {expected}, got {first} to {last} of scene {wrong[0] + 1}")
    return ranges.astype(np.int64)

"""Vectors of scenes by encoders of every kind of sequence, and of movies by movie encoders."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from shot_encoders import Config, contextualizer, expected, film, long_range, movie_encoder, scene_encoder
from support import random_checkpoint, small_config

pytest.importorskip("torch")

from megaseg import Engine
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.pipelines.scenes import scene_vectors
from megaseg.pipelines.similarity import movie_vectors, similarities

SCENES = np.array([[0, 6], [2, 11], [5, 5], [9, 10], [12, 14], [0, 14], [14, 14]])
ENCODERS = [contextualizer(), long_range(), movie_encoder(), scene_encoder()]


def unit(rows: np.ndarray) -> np.ndarray:
    """The mean row, of length 1."""
    mean = rows.mean(0)
    return mean / np.linalg.norm(mean)


def by_hand(config: Config, movie: dict[str, np.ndarray]) -> np.ndarray:
    checkpoint = random_checkpoint(config)
    if config.family != "scene_encoder":
        rows = expected(checkpoint, movie)["embedding"]
        return np.array([unit(rows[first : last + 1]) for first, last in SCENES])
    found = []
    for first, last in SCENES:  # the scene as a movie of its own
        rows = expected(checkpoint, {name: own[first : last + 1] for name, own in movie.items()})["embedding"]
        complete = rows[3:-3] if len(rows) >= 7 else rows[len(rows) // 2 :][:1]
        found.append(unit(complete))
    return np.array(found)


@pytest.mark.parametrize("backend", ["native", "torch", "onnx"])
@pytest.mark.parametrize("config", ENCODERS, ids=lambda config: config.family)
def test_a_scene_is_its_windows_or_its_rows(config: Config, backend: str) -> None:
    if backend == "onnx":
        pytest.importorskip("onnxruntime")
    engine = Engine.from_checkpoint(random_checkpoint(config), backend=backend, compute_type="float32")
    movie = film(config, 15)
    vectors = scene_vectors(engine, movie, SCENES)
    assert (vectors.dtype, vectors.shape) == (np.float32, (7, config.embedding_size))
    assert np.abs(vectors - by_hand(config, movie)).max() < 2e-5
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-6
    assert scene_vectors(engine, movie, []).shape == (0, config.embedding_size)


def test_a_scene_encoder_reads_nothing_beside_the_scene() -> None:
    engine = Engine.from_checkpoint(random_checkpoint(scene_encoder()))
    movie = film(engine.config, 15)
    other = {name: rows.copy() for name, rows in movie.items()}
    for rows in other.values():
        rows[:2] += 5
        rows[12:] += 5
    assert np.array_equal(scene_vectors(engine, movie, [[2, 11]]), scene_vectors(engine, other, [[2, 11]]))


@pytest.mark.parametrize(
    ("scenes", "message"),
    [
        ([[0, 15]], "expected first and last shots from 0 to 14, got 0 to 15 of scene 1"),
        ([[0, 3], [-1, 3]], "got -1 to 3 of scene 2"),
        ([[4, 3]], "got 4 to 3 of scene 1"),
        ([3, 4], r"expected integers \(scenes, 2\), got int64 \(2,\)"),
        ([[0.0, 1.0]], r"expected integers \(scenes, 2\), got float64 \(1, 2\)"),
    ],
)
def test_scenes_beyond_the_movie_are_refused(scenes: Any, message: str) -> None:
    engine = Engine.from_checkpoint(random_checkpoint(scene_encoder()))
    with pytest.raises(FeatureError, match=f"scenes: .*{message}"):
        scene_vectors(engine, film(engine.config, 15), scenes)


def test_models_without_rows_of_shots_are_refused() -> None:
    engine = Engine.from_checkpoint(random_checkpoint(small_config()))
    with pytest.raises(UnsupportedError, match="expected an encoder of shots"):
        scene_vectors(engine, {}, [[0, 1]])
    with pytest.raises(UnsupportedError, match="movies: expected a model of family movie_encoder, got one of mega"):
        movie_vectors(engine, [])


def test_similar_movies_by_scale_and_offset() -> None:
    config = movie_encoder()
    checkpoint = random_checkpoint(config)
    engine = Engine.from_checkpoint(checkpoint, compute_type="float32")
    movies = [film(config, shots) for shots in (3, 7, 20)]
    vectors = movie_vectors(engine, movies)
    means = np.array([expected(checkpoint, movie)["similarity"].mean(0) for movie in movies])
    assert np.abs(vectors - means).max() < 2e-5
    rows = means / np.linalg.norm(means, axis=1, keepdims=True)
    chances = 1 / (1 + np.exp(-(3.5 * rows @ rows.T - 0.5)))
    assert np.abs(similarities(engine, vectors) - chances).max() < 1e-4
    assert np.array_equal(similarities(engine, vectors[:1], vectors[1:]), similarities(engine, vectors)[:1, 1:])
    assert movie_vectors(engine, []).shape == (0, 5)

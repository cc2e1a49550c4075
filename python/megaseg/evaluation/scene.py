"""Scores and metrics of a scene model on labelled movies, computed by the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.engine import Engine
from megaseg.engine.inputs.features import Features
from megaseg.errors import FeatureError
from megaseg.evaluation.metrics import SceneMetrics, scene_metrics
from megaseg.features.video.similarity import prepared


def boundary_scores(
    engine: Engine, movies: Mapping[str, Features], advance: Callable[[str], None] = lambda name: None
) -> dict[str, NDArray[np.float32]]:
    """P(boundary after each shot), (shots,), by movie; ``advance(name)`` is called after each movie.

    Raw features of films become the rows that the model reads. Scores are those of ``Engine.segment``: of int8_checked
    float32's where a decision at the checkpoint's threshold rests on them, else int8's.

    Raises:
        FeatureError: not a scene model, or features that do not fit it; names the movie.
    """
    if engine.config.task != "scene":
        raise FeatureError(f"evaluation: expected a scene model, got task {engine.config.task!r}")
    scores = {}
    for name, movie in movies.items():
        try:
            scores[name] = engine.segment(prepared(movie, engine.config.recipe)).scores
        except FeatureError as error:
            raise FeatureError(f"{name}: {error}") from error
        advance(name)
    return scores


def evaluate_scenes(
    engine: Engine, movies: Mapping[str, Features], advance: Callable[[str], None] = lambda name: None
) -> SceneMetrics:
    """Metrics of a scene model on labelled movies, at the threshold of its checkpoint (0.5 where it has none)."""
    scores = boundary_scores(engine, movies, advance)
    labels = {name: movie.labels for name, movie in movies.items() if movie.labels is not None}
    threshold = 0.5 if engine.config.threshold is None else engine.config.threshold
    return scene_metrics(labels, scores, threshold)

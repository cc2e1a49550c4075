"""A run: ensembles that hold out a fold of the films each, for figures and threshold, and one of all films."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.engine import Engine
from megaseg.engine.inputs.features import Features
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.errors import FeatureError
from megaseg.evaluation.metrics import f1_within, scene_metrics
from megaseg.evaluation.scene import boundary_scores
from megaseg.evaluation.split import select_fold
from megaseg.training.recipes.video.config import VideoConfig
from megaseg.training.recipes.video.ensemble import Trainer
from megaseg.training.recipes.video.films import films_of

TOLERANCE = 1  # shots: the threshold is that of the highest mean F1 at this tolerance
_CANDIDATES = 200
Scores = dict[str, NDArray[np.float32]]


def train_video(
    movies: Mapping[str, Features],
    config: VideoConfig,
    folds: int,
    advance: Callable[[int], None] = lambda rows: None,
) -> tuple[Checkpoint, dict[str, Any]]:
    """A checkpoint of all films and the report of its cross-validation.

    Raises:
        FeatureError: as ``films_of``, or a fold without films or with all of them.
    """
    films = films_of(movies)
    held_out = [set(select_fold(films, fold, folds, inside=True)) for fold in range(folds)]
    if not all(0 < len(held) < len(films) for held in held_out):
        raise FeatureError(f"folds: expected films in each of {folds} folds, got {len(films)} films in all")
    *parts, checkpoint = Trainer(films, [*held_out, set()], config).run(advance)
    labels = {name: film.labels for name, film in films.items()}
    scores: Scores = {}
    for part, held in zip(parts, held_out, strict=True):
        engine = Engine.from_checkpoint(part, compute_type="float32", num_threads=1)
        scores |= boundary_scores(engine, {name: films[name].spaces[0] for name in films if name in held})
    threshold = tolerant_threshold(labels, scores)
    validation = dataclasses.asdict(scene_metrics(labels, {name: scores[name] for name in labels}, threshold))
    whole = checkpoint.config.replaced(threshold=threshold)
    return Checkpoint(whole, checkpoint.tensors), {"folds": folds, "validation": validation}


def tolerant_threshold(labels: Mapping[str, NDArray[np.uint8]], scores: Mapping[str, NDArray[np.float32]]) -> float:
    """The threshold of the highest mean over movies of F1 at ``TOLERANCE``, of quantiles of all scores."""
    pooled = np.concatenate([scores[name][:-1] for name in labels])
    candidates = np.unique(np.quantile(pooled.astype(np.float64), np.linspace(0.5, 0.995, _CANDIDATES)))
    figures = [np.mean([f1_within(labels[n], scores[n] >= t, TOLERANCE) for n in labels]) for t in candidates]
    return float(candidates[int(np.argmax(figures))].clip(1e-6, 1 - 1e-6))

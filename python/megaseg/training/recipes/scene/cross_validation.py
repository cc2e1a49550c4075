"""Scene models by folds of movies: one fold that validates, or every fold in turn and then a model of all movies."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from megaseg.engine.engine import Engine
from megaseg.engine.inputs.features import Features
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.errors import FeatureError
from megaseg.evaluation.metrics import best_threshold, scene_metrics
from megaseg.evaluation.scene import boundary_scores
from megaseg.evaluation.split import select_fold
from megaseg.training.corpus import Corpus
from megaseg.training.recipes.scene.config import SceneConfig
from megaseg.training.recipes.scene.trainer import SceneEpoch, SceneTrainer, best_of

_PARTS = ("train", "validation")


@dataclass(frozen=True)
class SceneRuns:
    """Runs on parts of ``movies``; states lie beside ``output`` until ``remove_states``.

    ``on_epoch(fold, epoch)`` is called after every epoch, with None for the fold of a run on all movies.
    """

    config: SceneConfig
    movies: Mapping[str, Features]
    folds: int
    output: Path
    threads: int = 0
    on_epoch: Callable[[int | None, SceneEpoch], None] = lambda fold, epoch: None
    advance: Callable[[int], None] = lambda windows: None

    def one_fold(self, fold: int) -> tuple[Checkpoint, dict[str, Any]]:
        """Train on all folds but one, which validates: the checkpoint and its report."""
        checkpoint, history = self._train(fold, self.config)
        best = best_of(history)
        number = next(epoch.number for epoch in history if epoch.validation is best)
        return checkpoint, {"fold": fold, "epochs": number + 1, "validation": dataclasses.asdict(best)}

    def all_movies(self) -> tuple[Checkpoint, dict[str, Any]]:
        """Cross-validate, for the epochs, the threshold and the figures; then train on all movies."""
        scores: dict[str, Any] = {}
        epochs, figures = [], []
        for fold in range(self.folds):
            checkpoint, report = self.one_fold(fold)
            epochs.append(report["epochs"])
            figures.append(report["validation"])
            held_out = {name: self.movies[name] for name in self._split(fold)["validation"]}
            engine = Engine.from_checkpoint(checkpoint, compute_type="float32", num_threads=self.threads)
            scores |= boundary_scores(engine, held_out)
        labels = {name: movie.labels for name, movie in self.movies.items() if movie.labels is not None}
        pooled = [np.concatenate([part[name][:-1] for name in scores]) for part in (labels, scores)]
        threshold = best_threshold(*pooled)
        settings = dataclasses.replace(self.config, epochs=round(sum(epochs) / len(epochs)))
        checkpoint, _ = self._train(None, dataclasses.replace(settings, patience=settings.epochs))
        config = checkpoint.config.replaced(threshold=threshold)
        report = {"folds": figures, "epochs": settings.epochs}
        report["validation"] = dataclasses.asdict(scene_metrics(labels, scores, threshold))
        return Checkpoint(config, checkpoint.tensors), report

    def remove_states(self) -> None:
        """Delete the states of finished runs."""
        for state in self.output.parent.glob(f"{self.output.name}.*state"):
            state.unlink()

    def _split(self, fold: int | None) -> dict[str, list[str]]:
        """Names to train and to validate on; without a fold both are all movies, and validation means nothing."""
        if fold is None:
            return {"train": list(self.movies), "validation": list(self.movies)}
        split = {part: select_fold(self.movies, fold, self.folds, inside=part == "validation") for part in _PARTS}
        if not all(split.values()):
            raise FeatureError(
                f"fold {fold} of {self.folds}: expected movies to train on and to validate on, "
                f"got {len(self.movies)} movies in all"
            )
        return split

    def _train(self, fold: int | None, config: SceneConfig) -> tuple[Checkpoint, list[SceneEpoch]]:
        state = self.output.with_name(f"{self.output.name}.{'all' if fold is None else fold}.state")
        split = self._split(fold)
        train, validation = (Corpus.from_movies({n: self.movies[n] for n in split[part]}) for part in _PARTS)
        trainer = SceneTrainer(config, train, validation, state)
        return trainer.run(lambda epoch: self.on_epoch(fold, epoch), self.advance)

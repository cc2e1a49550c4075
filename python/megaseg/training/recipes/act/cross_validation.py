"""Runs of one configuration in a folder: run.json, one folder a seed, and cross-validation over folds of movies."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from megaseg.engine.inputs.files import atomic_write
from megaseg.errors import FeatureError
from megaseg.evaluation.split import select_fold
from megaseg.training.recipes.act.config import ActConfig
from megaseg.training.recipes.act.data import ActMovie
from megaseg.training.recipes.act.run import ActRun, Task, finished

Advance = Callable[[str, str], None]  # names of a run's folder and of the phase of which an epoch has finished


def write_run(folder: Path, config: ActConfig, notes: Mapping[str, Any]) -> None:
    """Write run.json; a folder holds the seeds of one run.

    Raises:
        FeatureError: the folder holds a run of another configuration or other movies.
    """
    folder.mkdir(parents=True, exist_ok=True)
    said = {"name": folder.name, "modality": "T", "synchronised_by": "T*" if config.variant == "mega*" else "T"}
    run = json.loads(json.dumps({**said, "config": {**dataclasses.asdict(config), "seed": 0}, **notes}))
    path = folder / "run.json"
    if path.is_file():
        kept = json.loads(path.read_text(encoding="utf-8"))
        unlike = [key for key in ("config", "split", "data", "validation_gold") if kept.get(key) != run[key]]
        if unlike:
            raise FeatureError(
                f"{path}: expected a new folder or a run of the same {', '.join(unlike)}; choose another folder"
            )
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(run, indent=1), encoding="utf-8")


@dataclass(frozen=True)
class ActRuns:
    """Runs on parts of ``movies``; ``gold`` holds the scenes of the movies that validation can be scored on."""

    config: ActConfig
    movies: Sequence[ActMovie]
    gold: Mapping[str, Sequence[Sequence[int]]]
    recipe: str | None
    notes: Mapping[str, Any]
    folds: int
    advance: Advance = lambda run, phase: None

    def one_fold(self, output: Path, seed: int, fold: int, name: str = "seed-{}") -> dict[str, Any]:
        """Train on all folds but one, which validates."""
        inside = self.held_out(fold)
        return self._train(output / name.format(seed), seed, inside, {"fold": fold, "held_out": inside}, self.config)

    def held_out(self, fold: int) -> list[str]:
        """Names of the fold's movies.

        Raises:
            FeatureError: no such fold, or one of no movies or of all.
        """
        inside = select_fold([movie.name for movie in self.movies], fold, self.folds, inside=True)
        if not 0 < len(inside) < len(self.movies):
            raise FeatureError(
                f"fold {fold} of {self.folds}: expected movies on both sides, got {len(self.movies)} movies in all"
            )
        return inside

    def all_movies(self, output: Path, seed: int) -> dict[str, Any]:
        """Validate on every fold in turn; then train on all movies for the folds' mean number of epochs.

        The result is that of the folds together. A finished fold or run is not trained again.
        """
        folder = output / f"seed-{seed}"
        parts = [self.one_fold(folder, seed, fold, f"fold-{fold}") for fold in range(self.folds)]
        epochs = round(sum(part["epochs"] for part in parts) / len(parts))
        final = self._train(folder, seed, [], {"folds": parts}, dataclasses.replace(self.config, epochs=epochs))
        result = {"event": "cross-validated", **pooled(parts), "epochs": epochs}
        result["seconds"] = round(sum(part["seconds"] for part in (*parts, final)), 1)
        log = folder / "log.jsonl"
        lines = [line for line in log.read_text(encoding="utf-8").splitlines() if "cross-validated" not in line]
        with atomic_write(log) as temporary:
            temporary.write_text("\n".join([*lines, json.dumps(result)]) + "\n", encoding="utf-8")
        return result

    def _train(
        self, folder: Path, seed: int, inside: list[str], notes: Mapping[str, Any], config: ActConfig
    ) -> dict[str, Any]:
        config = dataclasses.replace(config, seed=seed)
        held_out = [movie for movie in self.movies if movie.name in inside]
        train = [movie for movie in self.movies if movie.name not in inside]
        gold = {movie.name: self.gold[movie.name] for movie in held_out if movie.name in self.gold}
        task = Task(train, held_out, gold, self.recipe, {**self.notes, **notes})
        done = finished(folder, config, task)
        if done is not None:
            return done
        return ActRun(config, task, folder, lambda phase: self.advance(folder.name, phase)).run()


def pooled(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Results of folds as one: ``act_metrics`` of all their movies together."""
    scored = [result for result in results if "validation" in result]
    whole: dict[str, Any] = {"movies": sum(result["movies"] for result in results)}
    if not scored:
        return whole
    counts = {key: np.array([result[key] for result in scored]) for key in ("scored", "events", "labels")}
    whole |= {key: int(count.sum()) for key, count in counts.items()}
    for row in ("validation", "theory", "prior"):
        weights = {"ta": counts["labels"], "pa": counts["events"], "d": counts["events"]}
        whole[row] = {
            key: round(float(np.average([result[row][key] for result in scored], weights=weight)), 4)
            for key, weight in weights.items()
        }
    return whole

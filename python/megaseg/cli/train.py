"""``megaseg train``: labelled features to a checkpoint."""

from __future__ import annotations

import dataclasses
import json as jsonlib
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from megaseg.cli.console import JsonOption, console, print_json, progress
from megaseg.cli.train_act import act
from megaseg.engine.engine import Engine
from megaseg.engine.inputs.features import Features
from megaseg.engine.model.checkpoint import Checkpoint, save_checkpoint
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.evaluation.metrics import best_threshold, scene_metrics
from megaseg.evaluation.scene import boundary_scores
from megaseg.evaluation.split import labelled_files, select_fold
from megaseg.training.config import TrainingConfig

_PARTS = ("train", "validation")

app = typer.Typer(help="Train a model on labelled features.", no_args_is_help=True)
app.command("act")(act)


@app.command("scene")
def scene(
    folder: Annotated[Path, typer.Argument(help="Folder of feature files with labels.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Checkpoint to write (.safetensors).")],
    config: Annotated[Path | None, typer.Option(help="JSON of TrainingConfig fields; default: the defaults.")] = None,
    fold: Annotated[int, typer.Option(help="Fold of the movies that validates.")] = 0,
    all_movies: Annotated[
        bool, typer.Option("--all-movies", help="Validate on every fold in turn, then train on all movies.")
    ] = False,
    folds: Annotated[int, typer.Option(help="Number of folds by movie name.", min=2)] = 5,
    seed: Annotated[int | None, typer.Option(help="Overrides the config's seed.")] = None,
    threads: Annotated[int, typer.Option(help="Threads; 0 takes every core.", min=0)] = 0,
    json: JsonOption = False,
) -> None:
    """Train MEGA to find scenes, stopping early by AP on the validation movies.

    With --all-movies each fold validates once; the checkpoint is then trained on all movies for the folds' mean number
    of epochs, with the threshold of highest F1 over all held-out scores. Interrupted, training goes on from
    OUTPUT.state when run again; the state goes when the checkpoint is written.
    """
    settings = TrainingConfig() if config is None else TrainingConfig.read(config)
    if seed is not None:
        settings = dataclasses.replace(settings, seed=seed)
    movies = labelled_files(folder)
    run = _Run(settings, movies, folds, output, threads)
    checkpoint, report = run.all_movies() if all_movies else run.one_fold(fold)
    chosen = "--all-movies" if all_movies else f"--fold {fold}"
    training = {
        "command": f"megaseg train scene FEATURES -o {output.name} --config CONFIG {chosen} --folds {folds}",
        "config": dataclasses.asdict(settings),
        "split": f"by movie, SHA-256 of the name modulo {folds}",
        "data": {"recipe": checkpoint.config.recipe, "movies": list(movies)},
        **report,
    }
    save_checkpoint(output, Checkpoint(checkpoint.config, checkpoint.tensors, {"training": jsonlib.dumps(training)}))
    for state in output.parent.glob(f"{output.name}.*state"):
        state.unlink()
    validation = report["validation"]
    if json:
        print_json({"checkpoint": str(output), **validation})
    else:
        console.print(f"{output}: validation AP {validation['ap']:.4f}, F1 {validation['f1']:.4f}", highlight=False)


@dataclasses.dataclass(frozen=True)
class _Run:
    """One call of the command: trains on parts of ``movies`` and says how well the held-out ones did."""

    settings: TrainingConfig
    movies: dict[str, Features]
    folds: int
    output: Path
    threads: int

    def one_fold(self, fold: int) -> tuple[Checkpoint, dict[str, Any]]:
        checkpoint, history = self._train(fold, self.settings)
        best = max(history, key=lambda epoch: epoch.validation.ap)
        return checkpoint, {"fold": fold, "epochs": best.number + 1, "validation": dataclasses.asdict(best.validation)}

    def all_movies(self) -> tuple[Checkpoint, dict[str, Any]]:
        """Cross-validation first, for the epochs, the threshold and the figures; then one run on everything."""
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
        settings = dataclasses.replace(self.settings, epochs=round(sum(epochs) / len(epochs)))
        checkpoint, _ = self._train(None, dataclasses.replace(settings, patience=settings.epochs))
        config = checkpoint.config.replaced(threshold=threshold)
        report = {"folds": figures, "epochs": settings.epochs}
        report["validation"] = dataclasses.asdict(scene_metrics(labels, scores, threshold))
        return Checkpoint(config, checkpoint.tensors), report

    def _split(self, fold: int | None) -> dict[str, list[str]]:
        """Names to train and to validate on; without a fold every movie is in both, and its figures mean nothing."""
        if fold is None:
            return {"train": list(self.movies), "validation": list(self.movies)}
        split = {part: select_fold(self.movies, fold, self.folds, inside=part == "validation") for part in _PARTS}
        if not all(split.values()):
            raise FeatureError(
                f"fold {fold} of {self.folds}: expected movies to train on and to validate on, "
                f"got {len(self.movies)} movies in all"
            )
        return split

    def _train(self, fold: int | None, settings: TrainingConfig) -> tuple[Checkpoint, list[Any]]:
        part = "all" if fold is None else f"{fold}"
        state = self.output.with_name(f"{self.output.name}.{part}.state")
        return _fit(settings, self.movies, self._split(fold), state, self.threads, quiet=fold is None)


def _fit(
    settings: TrainingConfig,
    movies: dict[str, Features],
    split: dict[str, list[str]],
    state: Path,
    threads: int,
    quiet: bool,
) -> tuple[Checkpoint, list[Any]]:
    try:
        import torch

        from megaseg.training.corpus import Corpus
        from megaseg.training.loop import Epoch, Trainer
    except ImportError as error:
        raise UnsupportedError(f"training needs {error.name}: pip install 'megaseg[train]'") from error
    if threads:
        torch.set_num_threads(threads)
    train, validation = (Corpus.from_movies({n: movies[n] for n in names}) for names in split.values())
    trainer = Trainer(settings, train, validation, state)

    def report(epoch: Epoch) -> None:
        figures = epoch.validation
        if quiet:
            console.print(f"all movies: epoch {epoch.number + 1}/{settings.epochs}  loss {epoch.loss:.4f}")
            return
        console.print(
            f"epoch {epoch.number + 1}/{settings.epochs}  loss {epoch.loss:.4f}  AP {figures.ap:.4f}  "
            f"mAP {figures.map:.4f}  F1 {figures.f1:.4f}  mIoU {figures.miou:.4f}"
        )

    windows = len(train.labels) // settings.window_stride * settings.epochs
    with progress("Training", windows) as bar:
        return trainer.run(report, lambda rows: bar.advance(bar.task_ids[0], rows))

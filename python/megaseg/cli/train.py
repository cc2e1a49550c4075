"""``megaseg train``: labelled features to a checkpoint."""

from __future__ import annotations

import dataclasses
import json as jsonlib
from pathlib import Path
from typing import Annotated, Any

import typer

from megaseg.cli.console import JsonOption, console, print_json, progress
from megaseg.engine.checkpoint import Checkpoint, save_checkpoint
from megaseg.engine.features import Features
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.evaluation.split import labelled_files, select_fold
from megaseg.training.config import TrainingConfig

app = typer.Typer(help="Train a model on labelled features.", no_args_is_help=True)


@app.callback()
def _train() -> None:
    """Keeps ``scene`` a named subcommand."""


@app.command("scene")
def scene(
    folder: Annotated[Path, typer.Argument(help="Folder of feature files with labels.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Checkpoint to write (.safetensors).")],
    config: Annotated[Path | None, typer.Option(help="JSON of TrainingConfig fields; default: the defaults.")] = None,
    fold: Annotated[int, typer.Option(help="Fold of the movies that validates.")] = 0,
    folds: Annotated[int, typer.Option(help="Number of folds by movie name.", min=2)] = 5,
    seed: Annotated[int | None, typer.Option(help="Overrides the config's seed.")] = None,
    threads: Annotated[int, typer.Option(help="Threads; 0 takes every core.", min=0)] = 0,
    json: JsonOption = False,
) -> None:
    """Train MEGA to find scenes, stopping early by AP on the validation movies.

    Interrupted, it goes on from OUTPUT.state when run again; the state goes when the checkpoint is written.
    """
    settings = TrainingConfig() if config is None else TrainingConfig.read(config)
    if seed is not None:
        settings = dataclasses.replace(settings, seed=seed)
    movies = labelled_files(folder)
    split = {
        "train": select_fold(movies, fold, folds, inside=False),
        "validation": select_fold(movies, fold, folds, inside=True),
    }
    if not all(split.values()):
        raise FeatureError(f"{folder}: expected movies to train on and to validate on, got {len(movies)} in all")
    checkpoint, history = _run(settings, movies, split, output.with_name(f"{output.name}.state"), threads)
    training = {
        "command": f"megaseg train scene FEATURES -o {output.name} --config CONFIG --fold {fold} --folds {folds}",
        "config": dataclasses.asdict(settings),
        "split": f"by movie, SHA-256 of the name modulo {folds}; fold {fold} validates",
        "movies": {name: len(part) for name, part in split.items()},
        "epochs": [dataclasses.asdict(epoch) for epoch in history],
    }
    save_checkpoint(output, Checkpoint(checkpoint.config, checkpoint.tensors, {"training": jsonlib.dumps(training)}))
    output.with_name(f"{output.name}.state").unlink(missing_ok=True)
    best = max(history, key=lambda epoch: epoch.validation.ap)
    if json:
        print_json({"checkpoint": str(output), "epoch": best.number, **dataclasses.asdict(best.validation)})
    else:
        console.print(f"{output}: epoch {best.number + 1} of {len(history)}, validation AP {best.validation.ap:.4f}")


def _run(
    settings: TrainingConfig, movies: dict[str, Features], split: dict[str, list[str]], state: Path, threads: int
) -> tuple[Checkpoint, list[Any]]:
    try:
        import torch

        from megaseg.training.corpus import Corpus
        from megaseg.training.trainer import Epoch, Trainer
    except ImportError as error:
        raise UnsupportedError(f"training needs {error.name}: pip install 'megaseg[train]'") from error
    if threads:
        torch.set_num_threads(threads)
    train, validation = (Corpus.from_movies({n: movies[n] for n in names}) for names in split.values())
    trainer = Trainer(settings, train, validation, state)

    def report(epoch: Epoch) -> None:
        figures = epoch.validation
        console.print(
            f"epoch {epoch.number + 1}/{settings.epochs}  loss {epoch.loss:.4f}  AP {figures.ap:.4f}  "
            f"mAP {figures.map:.4f}  F1 {figures.f1:.4f}  mIoU {figures.miou:.4f}"
        )

    windows = len(train.labels) // settings.window_stride * settings.epochs
    with progress("Training", windows) as bar:
        return trainer.run(report, lambda rows: bar.advance(bar.task_ids[0], rows))

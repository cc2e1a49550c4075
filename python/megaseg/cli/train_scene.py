"""``megaseg train scene``: labelled features to a checkpoint."""

from __future__ import annotations

import dataclasses
import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from megaseg.cli.console import JsonOption, console, named_flags, print_json, progress, require_file
from megaseg.engine.engine import Engine
from megaseg.engine.inputs.features import Features
from megaseg.engine.model.checkpoint import Checkpoint, save_checkpoint
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.evaluation.split import labelled_files
from megaseg.pipelines.embedding import embedded, encoder_sha256, require_embedding
from megaseg.pipelines.pipeline import naming

if TYPE_CHECKING:
    from megaseg.training.recipes.scene.trainer import SceneEpoch


def scene(
    folder: Annotated[Path, typer.Argument(help="Folder of feature files with labels.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Checkpoint to write (.safetensors).")],
    config: Annotated[Path | None, typer.Option(help="JSON of SceneConfig fields; default: the defaults.")] = None,
    fold: Annotated[int, typer.Option(help="Fold of the movies that validates.")] = 0,
    all_movies: Annotated[
        bool, typer.Option("--all-movies", help="Validate on every fold in turn, then train on all movies.")
    ] = False,
    folds: Annotated[int, typer.Option(help="Number of folds by movie name.", min=2)] = 5,
    seed: Annotated[int | None, typer.Option(help="Overrides the config's seed.")] = None,
    features_from: Annotated[
        Path | None, typer.Option(help="Run of megaseg pretrain, or an encoder: train on its embeddings of the shots.")
    ] = None,
    keep: Annotated[str, typer.Option(help="With --features-from: modalities beside the embedding, with commas.")] = "",
    threads: Annotated[int, typer.Option(help="Threads; 0 takes every core.", min=0)] = 0,
    json: JsonOption = False,
) -> None:
    """Train MEGA to find scenes, stopping early by AP on the validation movies.

    With --features-from the model reads what an encoder makes of the features, in files of megaseg embed.

    With --all-movies each fold validates once; the checkpoint is then trained on all movies for the folds' mean number
    of epochs, with the threshold of highest F1 over all held-out scores. Interrupted, training goes on from
    OUTPUT.*.state when run again; the states are deleted when the checkpoint is written.
    """
    require_file(output, folder)
    try:
        import torch

        from megaseg.training.recipes.scene.config import SceneConfig
        from megaseg.training.recipes.scene.cross_validation import SceneRuns
    except ImportError as error:
        raise UnsupportedError(f"training needs {error.name}: pip install 'megaseg[train]'") from error
    settings = SceneConfig() if config is None else SceneConfig.read(config)
    if seed is not None:
        settings = dataclasses.replace(settings, seed=seed)
    movies = _embedded(labelled_files(folder), features_from, keep, threads)
    if threads:
        torch.set_num_threads(threads)

    def report(part: int | None, epoch: SceneEpoch) -> None:
        console.print(("all movies: " if part is None else "") + _line(epoch, settings.epochs, part is not None))

    windows = sum(movie.num_shots for movie in movies.values()) // settings.window_stride * settings.epochs
    with progress("Training", windows * folds if all_movies else windows * (folds - 1) // folds) as bar:
        runs = SceneRuns(
            settings, movies, folds, output, threads, report, lambda rows: bar.advance(bar.task_ids[0], rows)
        )
        checkpoint, figures = runs.all_movies() if all_movies else runs.one_fold(fold)
    chosen = "--all-movies" if all_movies else f"--fold {fold}"
    chosen += (" --features-from RUN" if features_from else "") + (f" --keep {keep}" if keep else "")
    training = {
        "command": f"megaseg train scene FEATURES -o {output.name} --config CONFIG {chosen} --folds {folds}",
        "config": dataclasses.asdict(settings),
        "split": f"by movie, SHA-256 of the name modulo {folds}",
        "data": {"recipe": checkpoint.config.recipe, "movies": list(movies)},
        **figures,
    }
    save_checkpoint(output, Checkpoint(checkpoint.config, checkpoint.tensors, {"training": jsonlib.dumps(training)}))
    runs.remove_states()
    validation = figures["validation"]
    if json:
        print_json({"checkpoint": str(output), **validation})
    else:
        console.print(f"{output}: validation AP {validation['ap']:.4f}, F1 {validation['f1']:.4f}")


def _embedded(movies: dict[str, Features], run: Path | None, keep: str, threads: int) -> dict[str, Features]:
    """Movies as an encoder, perhaps that of a pretraining run, embeds them; as they are without one."""
    if run is None:
        if keep:
            raise FeatureError("--keep: expected --features-from beside it")
        return movies
    digest = encoder_sha256(run)
    engine = Engine.from_checkpoint(run, compute_type="float32", num_threads=threads)
    require_embedding(engine.config)
    kept = [name.strip() for name in keep.split(",") if name.strip()]
    made = {}
    with progress("Embedding (films)", len(movies)) as bar:
        for name, movie in movies.items():
            with naming(name), named_flags("keep"):
                made[name] = embedded(engine, movie, digest, keep=kept)
            bar.advance(bar.task_ids[0])
    return made


def _line(epoch: SceneEpoch, epochs: int, validated: bool) -> str:
    line, figures = f"epoch {epoch.number + 1}/{epochs}  loss {epoch.loss:.4f}", epoch.validation
    if figures is None or not validated:
        return line
    return f"{line}  AP {figures.ap:.4f}  mAP {figures.map:.4f}  F1 {figures.f1:.4f}  mIoU {figures.miou:.4f}"

"""``megaseg train video-scenes``: labelled raw features of films to a scene model for any features."""

from __future__ import annotations

import dataclasses
import json as jsonlib
from pathlib import Path
from typing import Annotated

import typer

from megaseg.cli.console import JsonOption, console, print_json, progress, require_file
from megaseg.engine.model.checkpoint import Checkpoint, save_checkpoint
from megaseg.errors import UnsupportedError
from megaseg.evaluation.split import labelled_files


def video_scenes(
    folder: Annotated[Path, typer.Argument(help="Folder of raw feature files with labels: FILM or FILM@SPACE.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Checkpoint to write (.safetensors).")],
    config: Annotated[Path | None, typer.Option(help="JSON of VideoConfig fields; default: the defaults.")] = None,
    folds: Annotated[int, typer.Option(help="Folds by film name, for figures and threshold.", min=2)] = 5,
    seed: Annotated[int | None, typer.Option(help="Overrides the config's seed.")] = None,
    threads: Annotated[int, typer.Option(help="Threads; 0 takes every core.", min=0)] = 0,
    terms: Annotated[str, typer.Option(help="Terms of the labels, kept in the checkpoint.")] = "",
    json: JsonOption = False,
) -> None:
    """Train the scene model that reads similarities of shots, on films in any feature spaces.

    Each fold validates once; the checkpoint is of all films, with the threshold of the highest F1 at a tolerance of one
    shot over the held-out films.
    """
    require_file(output)
    try:
        import torch

        from megaseg.training.recipes.video.config import VideoConfig
        from megaseg.training.recipes.video.run import train_video
    except ImportError as error:
        raise UnsupportedError(f"training needs {error.name}: pip install 'megaseg[train]'") from error
    settings = VideoConfig() if config is None else VideoConfig.read(config)
    if seed is not None:
        settings = dataclasses.replace(settings, seed=seed)
    if threads:
        torch.set_num_threads(threads)
    movies = labelled_files(folder)
    with progress("Training (shots)", None) as bar:
        checkpoint, report = train_video(movies, settings, folds, lambda rows: bar.advance(bar.task_ids[0], rows))
    training = {
        "command": f"megaseg train video-scenes FEATURES -o {output.name} --folds {folds}",
        "config": dataclasses.asdict(settings),
        "split": f"by film, SHA-256 of the name modulo {folds}",
        "data": {"recipe": checkpoint.config.recipe, "movies": list(movies), "terms": terms},
        **report,
    }
    save_checkpoint(output, Checkpoint(checkpoint.config, checkpoint.tensors, {"training": jsonlib.dumps(training)}))
    figures = report["validation"]
    if json:
        print_json({"checkpoint": str(output), **figures})
    else:
        console.print(f"{output}: held-out mean AP {figures['map']:.4f}, F1 at 1 shot {figures['f1_at']['1']:.4f}")

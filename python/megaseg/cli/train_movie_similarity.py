"""``megaseg train movie-similarity``: features and metadata to an encoder of which movies are similar."""

from __future__ import annotations

import dataclasses
import json as jsonlib
import math
from pathlib import Path
from typing import Annotated, Any

import typer

from megaseg.cli.console import JsonOption, console, named_flags, print_json, progress, require_folder
from megaseg.engine.model.checkpoint import ENCODER
from megaseg.errors import UnsupportedError
from megaseg.evaluation.split import feature_files

MetadataHelp = "MovieLens' folder, a CSV (a,b,similar; user,name,rating; name,genres; name,synopsis), or .npz vectors."
KindHelp = "What the metadata says: co-watch, genre or synopsis."
ShareHelp = "Share of the pairs of movies that are similar."
PartialHelp = "Leave out pairs with movies that are not there, rather than refuse them."


def movie_similarity(
    folder: Annotated[Path, typer.Argument(help="Folder of feature files, one a movie.")],
    metadata: Annotated[Path, typer.Option(help=MetadataHelp)],
    kind: Annotated[str, typer.Option(help=KindHelp)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the run: encoder.safetensors, log.jsonl.")],
    share: Annotated[float, typer.Option(help=ShareHelp)] = 0.1,
    partial: Annotated[bool, typer.Option("--partial", help=PartialHelp)] = False,
    config: Annotated[Path | None, typer.Option(help="JSON of MovieSimilarityConfig fields.")] = None,
    modalities: Annotated[str | None, typer.Option(help="Modalities to read, with commas; default: all.")] = None,
    max_length: Annotated[int | None, typer.Option(help="Shots of a movie that a batch reads.", min=1)] = None,
    epochs: Annotated[int | None, typer.Option(help="Most epochs; 0 writes random weights.", min=0)] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pairs of a batch, half of them similar.", min=2)] = None,
    seed: Annotated[int | None, typer.Option(help="Overrides the config's seed.", min=0)] = None,
    threads: Annotated[int, typer.Option(help="Threads; 0 takes every core.", min=0)] = 0,
    json: JsonOption = False,
) -> None:
    """Train an encoder to tell which movies are similar, as viewers, genres or synopses have it.

    Movies are held out by name: a tenth chooses the epoch, another one is scored at the end, beside the cosine of mean
    features. An interrupted run goes on after its last epoch when run again.
    """
    require_folder(output)
    try:
        import torch

        from megaseg.training.recipes.movie_similarity.config import MovieSimilarityConfig
        from megaseg.training.recipes.movie_similarity.metadata.registry import read_pairs
        from megaseg.training.recipes.movie_similarity.run import train_movie_similarity
    except ImportError as error:
        raise UnsupportedError(f"training needs {error.name}: pip install 'megaseg[train]'") from error
    settings = MovieSimilarityConfig() if config is None else MovieSimilarityConfig.read(config)
    named = None if modalities is None else tuple(name.strip() for name in modalities.split(","))
    given: dict[str, Any] = {"modalities": named, "max_length": max_length, "epochs": epochs}
    given |= {"batch_size": batch_size, "seed": seed}
    settings = dataclasses.replace(settings, **{name: value for name, value in given.items() if value is not None})
    movies = feature_files(folder)
    with named_flags("kind", "share"):
        pairs = read_pairs(metadata, kind, list(movies), share, partial=partial)
    for remark in pairs.remarks:
        console.print(remark, soft_wrap=True)
    console.print(f"{len(pairs):,} pairs of {len(pairs.names)} movies, {int(pairs.similar.sum()):,} of them similar")
    if threads:
        torch.set_num_threads(threads)
    notes = {"command": f"megaseg train movie-similarity FILMS --metadata METADATA --kind {kind} -o {output.name}"}
    steps = math.ceil(int(pairs.similar.sum()) * 2 * (1 - settings.validation_share - settings.test_share) ** 2)

    def report(line: dict[str, Any]) -> None:
        console.print(_line(line, settings.epochs), soft_wrap=True)

    with progress("Training (pairs)", steps * settings.epochs) as bar, named_flags("max_length", "batch_size"):
        made = train_movie_similarity(
            movies, pairs, settings, output, report, lambda count: bar.advance(bar.task_ids[0], count), notes
        )
    training = jsonlib.loads(made.metadata["training"])
    figures = {part: training[part] for part in ("validation", "test") if part in training}
    if json:
        print_json({"encoder": str(output / ENCODER), "epochs": training["epochs"], "kind": kind, **figures})
        return
    for part, found in figures.items():
        console.print(_figures(part, found))
    console.print(f"{output / ENCODER}: weights of epoch {training['epochs']}")


def _line(line: dict[str, Any], epochs: int) -> str:
    held = line.get("validation")
    return f"epoch {line['epoch'] + 1}/{epochs}  loss {line['train']['loss']:.4f}" + (
        f"  held out AUC {held['auc']:.4f}" if held else ""
    )


def _figures(part: str, found: dict[str, Any]) -> str:
    told = []
    for pairs, text in (("both", "of its own movies"), ("one", "with movies trained on")):
        auc, baseline = (found[kind][pairs]["auc"] for kind in ("model", "baseline"))
        if auc is not None:
            told.append(f"AUC {auc:.4f} (cosine of mean features {baseline:.4f}) of pairs {text}")
    return f"{part}: {', '.join(told) or 'no pairs of both kinds'}"

"""``megaseg train act``: labelled synopses and features by scene to act checkpoints, one a seed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from megaseg.cli.console import JsonOption, console, print_json, progress, require_folder
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.evaluation.act import read_gold
from megaseg.features.build import file_name
from megaseg.features.text.encoder import Encoder
from megaseg.features.text.pretrained import MINILM
from megaseg.features.text.synopsis import read_synopses

if TYPE_CHECKING:
    from megaseg.training.recipes.act.config import ActConfig
    from megaseg.training.recipes.act.data import ActMovie


def act(
    folder: Annotated[Path, typer.Argument(help="Folder of feature files, one row per scene.")],
    synopses: Annotated[Path, typer.Option(help="JSONL: name, sentences, annotations of five sentences each.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the run: one folder a seed.")],
    text: Annotated[
        Path | None, typer.Option(help="Folder of features of the same scenes that synopses are compared with.")
    ] = None,
    silver: Annotated[Path | None, typer.Option(help="A teacher's distributions (.npz), for --variant mega*.")] = None,
    gold: Annotated[
        Path | None, typer.Option(help="CSV of gold scenes to score validation by; default: arg-max of --silver.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="JSON of ActConfig fields; default: the shipped model's.")] = None,
    variant: Annotated[str | None, typer.Option(help="mega, or mega* (distil from --silver).")] = None,
    align_in_shots: Annotated[bool, typer.Option(help="Alignment encoding in shots (Table 2a).")] = True,
    align_in_bottlenecks: Annotated[bool, typer.Option(help="Alignment encoding in bottlenecks (Table 2b).")] = True,
    late_fusion: Annotated[bool, typer.Option("--late-fusion", help="No bottleneck fusion (Table 2c).")] = False,
    seed: Annotated[int | None, typer.Option(help="The first seed; default: the config's.", min=0)] = None,
    seeds: Annotated[int, typer.Option(help="How many seeds, one after the other.", min=1)] = 1,
    fold: Annotated[int, typer.Option(help="Fold of the movies that validates.")] = 0,
    folds: Annotated[int, typer.Option(help="Number of folds by movie name.", min=2)] = 5,
    all_movies: Annotated[
        bool, typer.Option("--all-movies", help="Validate on every fold in turn, then train on all movies.")
    ] = False,
    encoder: Annotated[Path | None, typer.Option(help="Folder of all-MiniLM-L6-v2; default: its wheel.")] = None,
    threads: Annotated[int, typer.Option(help="Threads; 0 takes every core.", min=0)] = 0,
    json: JsonOption = False,
) -> None:
    """Train MEGA to find turning points, from labelled synopsis sentences and without a label on any movie.

    A synopsis model learns the labels, scenes and sentences are synchronised by EM, and the labels of sentences are
    distilled into a model of scenes alone. Writes OUTPUT/seed-K/: act.safetensors, the pair of models before the
    distillation (synchronised.safetensors, synopsis.safetensors) and log.jsonl. An interrupted run goes on after its
    last phase or round when run again.
    """
    require_folder(output)
    settings = _settings(config, variant, align_in_shots, align_in_bottlenecks, late_fusion)
    movies, recipe, left_out = _load(folder, synopses, text, silver, encoder)
    if left_out:
        console.print(f"left out, without a synopsis or enough scenes: {', '.join(left_out)}")
    notes: dict[str, Any] = {
        "command": f"megaseg train act FEATURES --synopses SYNOPSES -o {output.name} --folds {folds} "
        + ("--text TEXT " if text else "")
        + ("--all-movies" if all_movies else f"--fold {fold}"),
        "split": f"by movie, SHA-256 of the name modulo {folds}",
        "data": {"recipe": recipe, "movies": [movie.name for movie in movies]},
        "validation_gold": "CSV" if gold else "arg-max of the silver distributions" if silver else "none",
    }
    if settings.variant == "mega*" and silver is None:
        raise FeatureError("mega*: expected a teacher's distributions to learn from, got no --silver")
    from megaseg.training.recipes.act.cross_validation import ActRuns, write_run

    if threads:
        _set_threads(threads)
    results = {}
    first = settings.seed if seed is None else seed
    with progress("Training", None) as bar:
        runs = ActRuns(
            settings, movies, _marks(gold, movies), recipe, notes, folds,
            lambda run, phase: bar.update(bar.task_ids[0], advance=1, description=f"{run}: {phase}"),
        )  # fmt: skip
        for number in [fold] if not all_movies else range(folds):
            runs.held_out(number)
        write_run(output, settings, notes)
        for number in range(first, first + seeds):
            results[number] = runs.all_movies(output, number) if all_movies else runs.one_fold(output, number, fold)
            console.print(f"seed {number}: {_line(results[number])}")
    if json:
        print_json({"run": str(output), "seeds": results})


def _settings(config: Path | None, variant: str | None, shots: bool, bottlenecks: bool, late: bool) -> ActConfig:
    try:
        from megaseg.training.recipes.act.config import SHIPPED, ActConfig
    except ImportError as error:
        raise UnsupportedError(f"training needs {error.name}: pip install 'megaseg[train]'") from error
    settings = ActConfig.read(SHIPPED if config is None else config)
    changes: dict[str, Any] = {} if variant is None else {"variant": variant}
    if not shots:
        changes["align_in_shots"] = False
    if not bottlenecks:
        changes["align_in_bottlenecks"] = False
    if late:
        changes["late_fusion"] = True
    return dataclasses.replace(settings, **changes)


def _load(
    folder: Path, synopses: Path, text: Path | None, silver: Path | None, encoder: Path | None
) -> tuple[list[ActMovie], str | None, list[str]]:
    try:
        from megaseg.training.recipes.act.data import load_movies, read_silver
    except ImportError as error:
        raise UnsupportedError(f"training needs {error.name}: pip install 'megaseg[train,text]'") from error
    texts = read_synopses(synopses)
    teacher = None if silver is None else read_silver(silver)
    encode = Encoder.from_checkpoint(encoder or MINILM, compute_type="float32").encode
    with progress("Sentences", len(texts)) as bar:
        vectors = {}
        for name, synopsis in texts.items():
            vectors[name] = encode(list(synopsis.sentences))
            bar.advance(bar.task_ids[0])
    return load_movies(folder, texts, vectors, teacher, text=text)


def _set_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _marks(gold: Path | None, movies: list[ActMovie]) -> dict[str, list[list[int]]]:
    """Scenes of turning points by movie: of the file, else the arg-max of the teacher's distributions, else none."""
    from megaseg.training.recipes.act.data import silver_gold

    if gold is None:
        return silver_gold(movies)
    known = {file_name(name).removesuffix(".npz"): points for name, points in read_gold(gold).items()}
    found = {movie.name: known[movie.name] for movie in movies if movie.name in known}
    if not found:
        raise FeatureError(f"{gold}: expected gold scenes of the movies in FEATURES, found none")
    return found


def _line(result: dict[str, Any]) -> str:
    if "validation" not in result:
        return f"{result['seconds']} s"
    parts = [
        f"{name} TA {row['ta']:.1f} PA {row['pa']:.1f} D {row['d']:.1f}"
        for name, row in result.items()
        if name in ("validation", "theory", "prior")
    ]
    return f"{'; '.join(parts)}; {result['seconds']} s"

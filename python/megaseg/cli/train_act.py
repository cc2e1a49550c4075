"""``megaseg train act``: labelled synopses and features by scene to act checkpoints, one a seed."""

from __future__ import annotations

import dataclasses
import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from megaseg.cli.console import JsonOption, console, print_json, progress
from megaseg.engine.files import atomic_write
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.evaluation.act import read_gold
from megaseg.evaluation.split import select_fold
from megaseg.features.build import file_name

if TYPE_CHECKING:
    from megaseg.training.act.config import ActConfig
    from megaseg.training.act.data import ActMovie

SETTINGS = Path(__file__).parent.parent / "training" / "screenplay-acts.json"


def act(
    folder: Annotated[Path, typer.Argument(help="Folder of feature files, one row per scene.")],
    synopses: Annotated[Path, typer.Option(help="JSONL: name, sentences, annotations of five sentences each.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the run: one folder a seed.")],
    silver: Annotated[Path | None, typer.Option(help="A teacher's distributions (.npz), for --variant mega*.")] = None,
    gold: Annotated[
        Path | None, typer.Option(help="CSV of gold scenes to score validation by; default: arg-max of --silver.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="JSON of ActConfig fields; default: the shipped model's.")] = None,
    variant: Annotated[str | None, typer.Option(help="mega, or mega* (distil from --silver).")] = None,
    align_in_shots: Annotated[bool, typer.Option(help="Alignment encoding in shots (Table 2a).")] = True,
    align_in_bottlenecks: Annotated[bool, typer.Option(help="Alignment encoding in bottlenecks (Table 2b).")] = True,
    late_fusion: Annotated[bool, typer.Option("--late-fusion", help="No bottleneck fusion (Table 2c).")] = False,
    seed: Annotated[int, typer.Option(help="The first seed.", min=0)] = 0,
    seeds: Annotated[int, typer.Option(help="How many seeds, one after the other.", min=1)] = 1,
    fold: Annotated[int, typer.Option(help="Fold of the movies that validates.")] = 0,
    folds: Annotated[int, typer.Option(help="Number of folds by movie name.", min=2)] = 5,
    all_movies: Annotated[
        bool, typer.Option("--all-movies", help="Train on every movie for --epochs, nothing held out.")
    ] = False,
    encoder: Annotated[Path | None, typer.Option(help="Folder of all-MiniLM-L6-v2; default: its wheel.")] = None,
    threads: Annotated[int, typer.Option(help="Threads; 0 takes every core.", min=0)] = 0,
    json: JsonOption = False,
) -> None:
    """Train MEGA to find turning points, from labelled synopsis sentences and without a label on any movie.

    A synopsis model learns the labels, scenes and sentences are synchronised by EM, and what the labels say of
    sentences is distilled into a model of scenes alone. Leaves OUTPUT/seed-K/ with act.safetensors,
    synopsis.safetensors and log.jsonl; interrupted, it goes on where it was when run again.
    """
    settings = _settings(config, variant, align_in_shots, align_in_bottlenecks, late_fusion)
    movies, recipe, left_out = _load(folder, synopses, silver, encoder)
    if left_out:
        console.print(f"left out, without a synopsis or enough scenes: {', '.join(left_out)}", highlight=False)
    validation = [] if all_movies else select_fold([movie.name for movie in movies], fold, folds, inside=True)
    if not all_movies and not 0 < len(validation) < len(movies):
        raise FeatureError(f"fold {fold} of {folds}: expected movies on both sides, got {len(movies)} movies in all")
    options = f"--fold {fold} --folds {folds}" if not all_movies else "--all-movies"
    notes: dict[str, Any] = {
        "command": f"megaseg train act FEATURES --synopses SYNOPSES -o {output.name} {options}",
        "split": "none" if all_movies else f"by movie, SHA-256 of the name modulo {folds}, fold {fold} validates",
        "data": {"recipe": recipe, "movies": [movie.name for movie in movies], "validation": validation},
        "validation_gold": "none" if all_movies else "CSV" if gold else "arg-max of the silver distributions",
    }
    _write_run(output, settings, notes)
    results = _run(settings, movies, validation, gold, recipe, notes, output, range(seed, seed + seeds), threads)
    if json:
        print_json({"run": str(output), "seeds": results})


def _settings(config: Path | None, variant: str | None, shots: bool, bottlenecks: bool, late: bool) -> ActConfig:
    try:
        from megaseg.training.act.config import ActConfig
    except ImportError as error:
        raise UnsupportedError(f"training needs {error.name}: pip install 'megaseg[train]'") from error
    settings = ActConfig.read(SETTINGS if config is None else config)
    changes: dict[str, Any] = {} if variant is None else {"variant": variant}
    if not shots:
        changes["align_in_shots"] = False
    if not bottlenecks:
        changes["align_in_bottlenecks"] = False
    if late:
        changes["late_fusion"] = True
    return dataclasses.replace(settings, **changes)


def _load(
    folder: Path, synopses: Path, silver: Path | None, encoder: Path | None
) -> tuple[list[ActMovie], str | None, list[str]]:
    try:
        from megaseg.features.encoder import SentenceEncoder
        from megaseg.training.act.data import load_movies, read_silver, read_synopses
    except ImportError as error:
        raise UnsupportedError(f"training needs {error.name}: pip install 'megaseg[train,text]'") from error
    texts = read_synopses(synopses)
    teacher = None if silver is None else read_silver(silver)
    encode = SentenceEncoder(encoder).encode
    with progress("Sentences", len(texts)) as bar:
        vectors = {}
        for name, synopsis in texts.items():
            vectors[name] = encode(list(synopsis.sentences))
            bar.advance(bar.task_ids[0])
    return load_movies(folder, texts, vectors, teacher)


def _write_run(output: Path, settings: ActConfig, notes: dict[str, Any]) -> None:
    output.mkdir(parents=True, exist_ok=True)
    said = {"name": output.name, "modality": "T", "synchronised_by": "T*" if settings.variant == "mega*" else "T"}
    with atomic_write(output / "run.json") as temporary:
        run = {**said, "config": dataclasses.asdict(settings), **notes}
        temporary.write_text(jsonlib.dumps(run, indent=1), encoding="utf-8")


def _run(
    settings: ActConfig,
    movies: list[ActMovie],
    validation: list[str],
    gold: Path | None,
    recipe: str | None,
    notes: dict[str, Any],
    output: Path,
    seeds: range,
    threads: int,
) -> dict[int, dict[str, Any]]:
    import torch

    from megaseg.training.act.run import ActRun, Task, silver_gold

    if threads:
        torch.set_num_threads(threads)
    held_out = [movie for movie in movies if movie.name in validation]
    marks = silver_gold(held_out) if gold is None else _marks(gold, held_out)
    train = [movie for movie in movies if movie.name not in validation]
    results = {}
    for number in seeds:
        task = Task(train, held_out, marks, recipe, notes)
        with progress(f"seed {number}", None) as bar:
            run = ActRun(
                dataclasses.replace(settings, seed=number),
                task,
                output / f"seed-{number}",
                lambda phase, bar=bar: bar.update(bar.task_ids[0], advance=1, description=phase),  # type: ignore[misc]
            )
            results[number] = run.run()
        console.print(f"seed {number}: {_line(results[number])}", highlight=False)
    return results


def _marks(gold: Path, movies: list[ActMovie]) -> dict[str, list[list[int]]]:
    """Gold scenes of the validation movies that the file knows."""
    known = {Path(file_name(name)).name.removesuffix(".npz"): points for name, points in read_gold(gold).items()}
    found = {movie.name: known[movie.name] for movie in movies if movie.name in known}
    if movies and not found:
        raise FeatureError(f"{gold}: expected gold scenes of validation movies, found none of {len(movies)}")
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

"""``megaseg eval``: a checkpoint against labelled features."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from megaseg.cli.console import (
    BackendOption,
    CheckpointOption,
    JsonOption,
    ThreadsOption,
    output,
    print_json,
    progress,
)
from megaseg.cli.evaluate_act import act
from megaseg.cli.evaluate_head import head
from megaseg.cli.evaluate_in_time import scenes_in_time
from megaseg.cli.evaluate_retrieval import retrieval
from megaseg.cli.evaluated import EvaluatedTypeOption, evaluated
from megaseg.errors import FeatureError
from megaseg.evaluation.baselines import baselines
from megaseg.evaluation.metrics import SceneMetrics
from megaseg.evaluation.scene import evaluate_scenes
from megaseg.evaluation.split import labelled_files, select_fold

app = typer.Typer(help="Score a checkpoint on labelled features, or boundaries of a film.", no_args_is_help=True)
app.command("act")(act)
app.command("head")(head)
app.command("retrieval")(retrieval)
app.command("scenes-in-time")(scenes_in_time)
_COLUMNS = ("ap", "map", "f1", "f1_at_half", "miou")


@app.command("scene")
def scene(
    folder: Annotated[Path, typer.Argument(help="Folder of feature files with labels.")],
    checkpoint: CheckpointOption = "screenplay-scenes",
    fold: Annotated[int | None, typer.Option(help="Score only this fold of the movies.")] = None,
    folds: Annotated[int, typer.Option(help="Number of folds by movie name.", min=2)] = 5,
    baselines_from: Annotated[
        Path | None,
        typer.Option("--baselines", help="Also fit the baselines on the labelled movies of this folder."),
    ] = None,
    backend: BackendOption = "auto",
    compute_type: EvaluatedTypeOption = None,
    threads: ThreadsOption = 0,
    json: JsonOption = False,
) -> None:
    """AP, mean AP per movie, F1 and mIoU of a scene checkpoint; a movie's last shot is not scored.

    Movies that are scored never enter the baselines' training.
    """
    engine = evaluated(checkpoint, backend=backend, compute_type=compute_type, threads=threads)
    movies = labelled_files(folder)
    names = list(movies) if fold is None else select_fold(movies, fold, folds, inside=True)
    if not names:
        raise FeatureError(f"{folder}: expected labelled movies in fold {fold} of {folds}, found none")
    scored = {name: movies[name] for name in names}
    with progress("Scoring", len(scored)) as bar:
        results = {"model": evaluate_scenes(engine, scored, lambda _: bar.advance(bar.task_ids[0]))}
    if baselines_from is not None:
        train = {name: movie for name, movie in labelled_files(baselines_from).items() if name not in scored}
        results |= baselines(train, scored)
    if json:
        rows = {name: asdict(result) for name, result in results.items()}
        print_json({**rows.pop("model"), "checkpoint": str(checkpoint), "baselines": rows})
        return
    output.print(_table(results))


def _table(results: dict[str, SceneMetrics]) -> Table:
    shown = results["model"]
    title = f"{shown.movies} movies, {shown.shots} shots, {shown.boundaries} boundaries"
    table = Table("", *_COLUMNS, "threshold", title=title)
    for name, result in results.items():
        figures = [f"{100 * getattr(result, column):.1f}" for column in _COLUMNS]
        table.add_row(name.replace("_", " "), *figures, f"{result.threshold:.3f}")
    return table

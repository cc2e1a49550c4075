"""``megaseg eval act``: checkpoints against gold turning points, beside what needs no content at all."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from megaseg.cli.console import BackendOption, JsonOption, ThreadsOption, output, print_json, progress
from megaseg.cli.evaluated import EvaluatedTypeOption, evaluated
from megaseg.engine.inputs.feature_files import load_features
from megaseg.engine.inputs.features import Features
from megaseg.errors import FeatureError
from megaseg.evaluation.act import (
    PRIOR,
    THEORY,
    ActMetrics,
    act_metrics,
    content_free,
    predicted_scenes,
    read_gold,
    run_checkpoints,
)
from megaseg.features.build import file_name

FIGURES = ("ta", "pa", "d")


def act(
    folder: Annotated[Path, typer.Argument(help="Folder of feature files, one row per scene.")],
    gold: Annotated[Path, typer.Option(help="CSV: name, then the scenes of turning points 1 to 5, from 0.")],
    checkpoint: Annotated[
        list[str] | None,
        typer.Option("--checkpoint", "-c", help="A checkpoint, a shipped name, or a folder of train act; repeatable."),
    ] = None,
    ordered: Annotated[
        bool, typer.Option("--ordered/--unordered", help="Turning points in increasing order, or each on its own.")
    ] = False,
    backend: BackendOption = "auto",
    compute_type: EvaluatedTypeOption = None,
    threads: ThreadsOption = 0,
    json: JsonOption = False,
) -> None:
    """TA, PA and D of act checkpoints in percent, with theory's positions and the training labels' beside them.

    Several checkpoints, or the seeds of a run's folder, give the mean and the standard deviation of the figures.
    """
    truth = read_gold(gold)
    movies = {name: _features(folder, name, gold) for name in truth}
    scenes = {name: movie.num_shots for name, movie in movies.items()}
    try:
        baselines = {"theory": content_free(truth, scenes, THEORY), "prior": content_free(truth, scenes, PRIOR)}
    except FeatureError as error:
        raise FeatureError(f"{gold}: {error}") from error
    names = [str(path) for given in checkpoint or ["screenplay-acts"] for path in _checkpoints(given)]
    rows: dict[str, ActMetrics] = {}
    with progress("Scoring", len(names)) as bar:
        for name in names:
            engine = evaluated(name, backend=backend, compute_type=compute_type, threads=threads)
            rows[name] = act_metrics(truth, predicted_scenes(engine, movies, ordered=ordered), scenes)
            bar.advance(bar.task_ids[0])
    mean, std = summary(list(rows.values()))
    if json:
        print_json(
            {
                **mean,
                "std": std,
                "checkpoints": {name: {key: getattr(row, key) for key in FIGURES} for name, row in rows.items()},
                "baselines": {name: {key: getattr(row, key) for key in FIGURES} for name, row in baselines.items()},
                **{key: value for key, value in asdict(baselines["prior"]).items() if key not in FIGURES},
            }
        )
        return
    output.print(_table(mean, std, len(rows), baselines))


def summary(rows: list[ActMetrics]) -> tuple[dict[str, float], dict[str, float]]:
    """Mean and sample standard deviation of each figure; 0 for one row."""
    values = {key: np.array([getattr(row, key) for row in rows]) for key in FIGURES}
    std = {key: float(v.std(ddof=1)) if len(v) > 1 else 0.0 for key, v in values.items()}
    return {key: float(v.mean()) for key, v in values.items()}, std


def _checkpoints(given: str) -> list[Path | str]:
    return list(run_checkpoints(given)) if Path(given).is_dir() else [given]


def _features(folder: Path, name: str, gold: Path) -> Features:
    for file in (folder / f"{name}.npz", folder / file_name(name), folder / f"{name}.safetensors"):
        if file.is_file():
            return load_features(file)
    raise FeatureError(f"{gold}: {name}: expected its features in {folder}, found none")


def _table(mean: dict[str, float], std: dict[str, float], count: int, baselines: dict[str, ActMetrics]) -> Table:
    shown = baselines["prior"]
    table = Table("", "TA", "PA", "D", title=f"{shown.movies} movies, {shown.events} turning points")
    cells = [f"{mean[key]:.2f} ({std[key]:.2f})" if count > 1 else f"{mean[key]:.2f}" for key in FIGURES]
    table.add_row(f"model, {count} seeds" if count > 1 else "model", *cells)
    for name, row in baselines.items():
        table.add_row(name, *(f"{getattr(row, key):.2f}" for key in FIGURES))
    return table

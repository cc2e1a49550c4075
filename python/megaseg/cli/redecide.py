"""``megaseg redecide``: another decision on a result's kept scores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from megaseg.cli.console import (
    JsonOption,
    LengthOption,
    OrderedOption,
    OutputOption,
    ScenesOption,
    named_flags,
)
from megaseg.cli.delivery import Movie, read_result, save, show, targets, to_stdout
from megaseg.cli.views import PlotOption, Views
from megaseg.pipelines import Explained


def redecide(
    result: Annotated[Path, typer.Argument(help="A result that megaseg segment wrote.", exists=True, dir_okay=False)],
    threshold: Annotated[
        float | None, typer.Option(help="Least P(boundary) of a boundary; default: the one that the result has.")
    ] = None,
    min_scene_length: LengthOption = None,
    num_scenes: ScenesOption = None,
    ordered: OrderedOption = None,
    output_path: OutputOption = None,
    plot: PlotOption = None,
    json: JsonOption = False,
) -> None:
    """Decide again on a result's kept scores, without running the model."""
    kept = read_result(result)
    (files,) = targets([result.stem], output_path)
    views = Views(plot).checked(1)
    with named_flags():
        changed = kept.redecide(
            threshold=threshold, min_scene_length=min_scene_length, num_scenes=num_scenes, ordered=ordered
        )
    movie = Movie(result.stem)
    save(changed, movie, files)
    views.write(Explained(changed), movie)
    show(changed, movie, json or to_stdout(output_path))

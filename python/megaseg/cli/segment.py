"""``megaseg segment``: features and screenplays to scenes and acts."""

from __future__ import annotations

from typing import Annotated

import typer

from megaseg.cli.console import (
    DEFAULT,
    BackendOption,
    CheckpointsOption,
    ComputeTypeOption,
    DeviceOption,
    JsonOption,
    LengthOption,
    OrderedOption,
    OutputOption,
    OverflowOption,
    PlotOption,
    ScenesOption,
    ThreadsOption,
    ThresholdOption,
    named_flags,
    print_warnings,
    progress,
)
from megaseg.cli.delivery import deliver, targets
from megaseg.cli.stdin import STDIN, FromOption, NameOption, from_stdin, require_kind
from megaseg.engine.inputs.features import OtherRecipe
from megaseg.features import Screenplay
from megaseg.features.extractor import UnnamedUnits
from megaseg.features.screenplay.extractor import UNITS
from megaseg.pipelines import Pipeline, find_sources


def segment(
    inputs: Annotated[
        list[str], typer.Argument(help="Feature files or screenplays, folders of them, a sample's name, or - (stdin).")
    ],
    checkpoint: CheckpointsOption = None,
    kind: FromOption = None,
    name: NameOption = "stdin",
    threshold: ThresholdOption = None,
    min_scene_length: LengthOption = None,
    num_scenes: ScenesOption = None,
    ordered: OrderedOption = None,
    output_path: OutputOption = None,
    plot: PlotOption = None,
    device: DeviceOption = "auto",
    compute_type: ComputeTypeOption = "auto",
    overflow: OverflowOption = "error",
    backend: BackendOption = "auto",
    threads: ThreadsOption = 0,
    json: JsonOption = False,
) -> None:
    """Find scenes, acts, or both, from features of movies or from screenplays (Fountain, text, FDX, PDF, JSONL).

    Prints a table, or with --json one result a line.
    """
    require_kind(kind, inputs)
    movies = [
        movie for given in inputs for movie in (from_stdin(kind, name) if given == STDIN else find_sources(given, kind))
    ]
    print_warnings(remark for movie in movies if isinstance(movie, Screenplay) for remark in movie.remarks)
    files = targets([movie.name for movie in movies], output_path, plot)
    pipeline = Pipeline.from_checkpoints(
        checkpoint or [DEFAULT],
        device=device,
        compute_type=compute_type,
        num_threads=threads,
        backend=backend,
        overflow=overflow,
    )
    decision = {
        "threshold": threshold,
        "min_scene_length": min_scene_length,
        "num_scenes": num_scenes,
        "ordered": ordered,
    }
    with named_flags(), progress("segmenting", len(movies)) as bar:
        for movie, file in zip(movies, files, strict=True):
            try:
                result = pipeline.segment(movie, **decision)
            except UnnamedUnits as error:
                raise UnnamedUnits(f"{error}: --checkpoint {DEFAULT}") from error
            except OtherRecipe as error:
                raise OtherRecipe(f"{error}{_hint(pipeline)}") from error
            deliver(result, movie.name, file, plot, json, movie)
            bar.advance(bar.task_ids[0])


def _hint(pipeline: Pipeline) -> str:
    """Which command makes the features that the models read, where they are of screenplays."""
    wanted = {engine.config.recipe for engine in pipeline.engines}
    units = [unit for unit, recipe in UNITS.items() if recipe in wanted]
    return "".join(f"; features of {unit}s: megaseg features screenplay --unit {unit}" for unit in units)

"""``megaseg segment``: features and screenplays to scenes and acts."""

from __future__ import annotations

from typing import Annotated

import typer

from megaseg.cli.console import (
    DEFAULT,
    MODEL_KEYWORDS,
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
from megaseg.cli.delivery import Movie, deliver, targets, to_stdout
from megaseg.cli.inputs import Failures, hints, path_of, row_of, sources
from megaseg.cli.stdin import FromOption, NameOption, require_kind
from megaseg.features import Screenplay
from megaseg.pipelines import Pipeline


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

    Prints a table, or with --json (or -o -) one result a line. A movie that fails does not stop the others: stdout has
    results only, stderr lists the failures at the end. Exit code 0 when every movie has its result, 1 when some
    have, 2 when none has.
    """
    require_kind(kind, inputs)
    failures = Failures()
    movies = sources(inputs, failures, kind, name)
    print_warnings(remark for movie in movies if isinstance(movie, Screenplay) for remark in movie.remarks)
    if not movies:
        failures.end(0)
    files = targets([movie.name for movie in movies], output_path, plot, failed=len(failures))
    with named_flags(*MODEL_KEYWORDS):
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
    with named_flags():
        pipeline.options(decision)  # refused here, not by every movie
    done = 0
    with progress("segmenting", len(movies)) as bar:
        for movie, file in zip(movies, files, strict=True):
            with failures.of(path_of(movie)), hints(pipeline), named_flags():
                result = pipeline.segment(movie, **decision)
                own = Movie(movie.name, movie, row_of(movie, pipeline))
                deliver(result, own, file, plot, json or to_stdout(output_path))
                done += 1
            bar.advance(bar.task_ids[0])
    failures.end(done)

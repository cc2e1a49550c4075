"""``megaseg eval retrieval``: video to sound or language and back, by an encoder's contextual features."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from megaseg.cli.console import BackendOption, JsonOption, ThreadsOption, named_flags, output, print_json, progress
from megaseg.engine.engine import Engine
from megaseg.evaluation.retrieval import paired_rows, retrieval_metrics
from megaseg.evaluation.split import feature_files


def retrieval(
    checkpoint: Annotated[str, typer.Argument(help="Encoder of family long_range, or the folder of its pretraining.")],
    folder: Annotated[Path, typer.Argument(help="Folder of feature files, each a film or a clip.")],
    source: Annotated[str, typer.Option("--from", help="video, audio or language.")] = "video",
    target: Annotated[str, typer.Option("--to", help="video, audio or language.")] = "audio",
    unit: Annotated[str, typer.Option(help="clip (means over time) or shot.")] = "clip",
    backend: BackendOption = "auto",
    threads: ThreadsOption = 0,
    json: JsonOption = False,
) -> None:
    """Recall within the first 1, 5 and 10, median and mean rank, in both directions; nothing is trained."""
    engine = Engine.from_checkpoint(checkpoint, backend=backend, num_threads=threads)
    movies = feature_files(folder)
    with progress("Embedding", len(movies)) as bar, named_flags("unit"):
        rows = paired_rows(engine, movies, (source, target), unit, lambda count: bar.advance(bar.task_ids[0], count))
    results = {
        f"{source} to {target}": asdict(retrieval_metrics(*rows)),
        f"{target} to {source}": asdict(retrieval_metrics(*reversed(rows))),
    }
    if json:
        print_json({"unit": unit, **results})
        return
    names = list(results[f"{source} to {target}"])
    table = Table("", *(name.replace("_", " ") for name in names), title=f"{len(rows[0])} {unit}s")
    for direction, figures in results.items():
        cells = (f"{value:.3f}" if name.startswith("recall") else f"{value:g}" for name, value in figures.items())
        table.add_row(direction, *cells)
    output.print(table)

"""``megaseg train reader``: labelled screenplays to the reader that ``megaseg features screenplay`` uses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from megaseg.cli.console import JsonOption, console, print_json, progress, require_file
from megaseg.errors import UnsupportedError
from megaseg.features.screenplay.files import read_screenplays


def reader(
    inputs: Annotated[list[Path], typer.Argument(help="Labelled screenplays: JSONL files, Fountain or plain text.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Reader to write (.safetensors).")],
    folds: Annotated[int, typer.Option(help="Folds by movie name, trained side by side.", min=2)] = 3,
    epochs: Annotated[int, typer.Option(help="Passes over the boundaries.", min=1)] = 2,
    seed: Annotated[int, typer.Option(help="Seed.")] = 0,
    encoder: Annotated[Path | None, typer.Option(help="Folder of all-MiniLM-L6-v2; default: its wheel.")] = None,
    json: JsonOption = False,
) -> None:
    """Train the text model that reads the gaps between blocks, one adapter a fold of movies.

    A training movie is read by the adapter of the fold that held the movie out. An interrupted run keeps the folds that
    have finished.
    """
    require_file(output)
    try:
        from megaseg.training.recipes.reader import ReaderConfig, train_reader
    except ImportError as error:
        raise UnsupportedError(f"training needs {error.name}: pip install 'megaseg[train,text]'") from error
    plays = [play for path in inputs for play in read_screenplays(path)]
    config = ReaderConfig(folds=folds, epochs=epochs, seed=seed)
    notes = {"command": f"megaseg train reader SCREENPLAYS -o {output.name}"}
    with progress("Training the reader (gaps)", None) as bar:
        precisions = train_reader(
            plays, output, config, encoder=encoder, advance=lambda gaps: bar.advance(bar.task_ids[0], gaps), notes=notes
        )
    if json:
        print_json({"reader": str(output), "held_out_ap": precisions})
    else:
        figures = ", ".join(f"{ap:.4f}" for ap in precisions)
        console.print(f"{output}: AP over the gaps of the movies that each fold held out: {figures}")

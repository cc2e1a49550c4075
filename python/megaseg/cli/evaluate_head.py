"""``megaseg eval head``: a trained head against labels, or against films alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from megaseg.cli.console import JsonOption, ThreadsOption, output, print_json
from megaseg.cli.train_head import LabelsOption, PartialOption, films_of, read_labels
from megaseg.errors import UnsupportedError
from megaseg.training.recipes.head.data import require_films


def head(
    file: Annotated[Path, typer.Argument(help="Head that megaseg train head wrote.")],
    folder: Annotated[Path, typer.Argument(help="Folder of feature files.")],
    labels: LabelsOption = None,
    partial: PartialOption = False,
    encoder: Annotated[
        Path | None, typer.Option(help="Checkpoint of a frozen encoder; default: where it was in training.")
    ] = None,
    threads: ThreadsOption = 0,
    json: JsonOption = False,
) -> None:
    """Figures of a head on the labelled films of a folder; heads that need no labels take all of them.

    Boundary heads are scene checkpoints: megaseg eval scene.
    """
    try:
        import torch

        from megaseg.training.recipes.head.file import load_head
        from megaseg.training.recipes.head.run import evaluate_head
    except ImportError as error:
        raise UnsupportedError(f"heads need {error.name}: pip install 'megaseg[train]'") from error
    if threads:
        torch.set_num_threads(threads)
    trained = load_head(file, encoder)
    known = read_labels(type(trained.head), labels)
    movies = films_of(type(trained.head), folder)
    if known is not None and not partial and labels is not None:
        require_films(known, movies, labels)
    figures = evaluate_head(trained, movies, known)
    if json:
        print_json({"head": trained.head.kind, **figures})
        return
    table = Table("figure", "value", title=f"{trained.head.kind}, {len(movies)} films")
    for name, value in figures.items():
        table.add_row(name, f"{value:.4f}" if isinstance(value, float) else str(value))
    output.print(table)

"""A person's edits of an earlier result: the option that keeps them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from megaseg.cli.delivery import read_result
from megaseg.engine.results.segmentation import Segmentation
from megaseg.errors import FeatureError

KeepOption = Annotated[
    Path | None,
    typer.Option(
        "--keep",
        help="One movie: an edited result, whose locked and barred boundaries and names hold again.",
        exists=True,
        dir_okay=False,
    ),
]


def edits_for(path: Path, movies: int) -> Segmentation:
    """The edited result for one movie.

    Raises:
        FeatureError: several movies, or another file.
    """
    if movies != 1:
        raise FeatureError(f"--keep: expected one movie with it, got {movies}")
    return read_result(path)

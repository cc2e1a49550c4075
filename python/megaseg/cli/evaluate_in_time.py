"""``megaseg eval scenes-in-time``: boundaries of a film against a reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from megaseg.cli.console import JsonOption, exact, named_flags, output, print_json
from megaseg.evaluation.boundaries import read_boundaries
from megaseg.evaluation.in_time import SECONDS, Agreement, InTime, in_time


def scenes_in_time(
    predicted: Annotated[Path, typer.Argument(help="A result, or a file of another program.", dir_okay=False)],
    reference: Annotated[Path, typer.Argument(help="A file with the boundaries to compare with.", dir_okay=False)],
    tolerance: Annotated[
        list[float] | None,
        typer.Option(help="Seconds up to which boundaries are the same; may be repeated; default: 0, 1, 2 and 5."),
    ] = None,
    track: Annotated[
        str | None, typer.Option(help="Track of results, such as acts; default: scenes, else what there is.")
    ] = None,
    frame_rate: Annotated[
        str | None, typer.Option(help="Frames a second of an EDL: 25, 23.976, 29.97df; default: a result's own.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Precision, recall and F1 of boundaries by tolerance in seconds and in shots, Pk and WindowDiff.

    Files are results (JSON), CSV with PySceneDetect's columns, EDL, OTIO, FCPXML, Final Cut Pro 7 XML, chapters
    (ffmetadata, OGM, WebVTT, Matroska), or plain times, one a line. A film's start is no boundary.
    """
    with named_flags("tolerance", "track", "frame_rate"):
        own, true = read_boundaries(predicted, reference, track=track, frame_rate=frame_rate)
        found = in_time(own, true, [exact(one, "--tolerance") for one in tolerance] if tolerance else SECONDS)
    if json:
        print_json(asdict(found))
        return
    output.print(_table(found))
    errors = {"Pk": found.pk, "WindowDiff": found.window_diff}
    told = [f"{name} {100 * value:.1f}" for name, value in errors.items() if value is not None]
    if found.distance is not None:
        told.append(f"median distance {found.distance:.2f} s")
    if told:
        output.print(", ".join(told), soft_wrap=True)


def _table(found: InTime) -> Table:
    title = f"{found.predicted} boundaries, {found.reference} in the reference"
    table = Table("within", "pairs", "precision", "recall", "f1", title=title)
    for unit, rows in (("s", found.seconds), ("shots", found.shots)):
        _add(table, unit, rows)
    return table


def _add(table: Table, unit: str, rows: Sequence[Agreement]) -> None:
    for row in rows:
        figures = [f"{100 * figure:.1f}" for figure in (row.precision, row.recall, row.f1)]
        table.add_row(f"{row.tolerance:g} {unit}", str(row.pairs), *figures)

"""``megaseg formats``: the formats that results can be written in."""

from __future__ import annotations

from rich import box
from rich.table import Table

from megaseg.cli.console import JsonOption, output, print_json
from megaseg.export import formats as all_formats


def formats(json: JsonOption = False) -> None:
    """List the formats of --format: their names, the suffixes of their files, and what they are."""
    if json:
        names = ("name", "suffix", "title", "timed", "framed")
        print_json([{name: getattr(one, name) for name in names} for one in all_formats()])
        return
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("format", "suffix", "needs", "what it is"):
        table.add_column(column)
    for one in all_formats():
        needs = "frame rate" if one.framed else "times" if one.timed else ""
        table.add_row(one.name, one.suffix, needs, one.title)
    output.print(table)

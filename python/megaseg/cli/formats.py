"""``megaseg formats``: the formats that results can be written in."""

from __future__ import annotations

import json as json_text

from rich import box
from rich.table import Table

from megaseg.cli.console import JsonOption, output
from megaseg.export import formats as all_formats


def formats(json: JsonOption = False) -> None:
    """List the formats of --format: their names, the suffixes of their files, and what they are."""
    if json:
        print(json_text.dumps([{"name": one.name, "suffix": one.suffix, "title": one.title} for one in all_formats()]))
        return
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("format", "suffix", "what it is"):
        table.add_column(column)
    for one in all_formats():
        table.add_row(one.name, one.suffix, one.title)
    output.print(table)

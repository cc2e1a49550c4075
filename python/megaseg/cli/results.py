"""``megaseg results``: runs of act training as the paper's tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from megaseg.engine.inputs.files import atomic_write
from megaseg.errors import FeatureError
from megaseg.evaluation.report import report
from megaseg.report.text import visible

BEGIN, END = "<!-- results -->", "<!-- end of results -->"


def results(
    runs: Annotated[list[Path], typer.Argument(help="Folders of megaseg train act.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Markdown to write between its marks; default: print.")
    ] = None,
) -> None:
    """Tables of runs beside the published figures, and of the ablations, made from the runs' logs."""
    text = report(runs)
    if output is None or output == Path("-"):
        print("\n".join(map(visible, text.split("\n"))))
        return
    page = output.read_text(encoding="utf-8") if output.is_file() else f"{BEGIN}\n{END}\n"
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise FeatureError(f"{output}: expected a page with the marks {BEGIN} and {END}, got none or several")
    before, rest = page.split(BEGIN)
    with atomic_write(output) as temporary:
        temporary.write_text(f"{before}{BEGIN}\n{text}{END}{rest.split(END)[1]}", encoding="utf-8")

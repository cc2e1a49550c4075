"""Pages whose tables are made of the logs of runs: each between ``<!-- NAME -->`` and ``<!-- /NAME -->``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).resolve().parent / "results"
DOCS = Path(__file__).resolve().parents[1] / "docs"
Lines = list[dict[str, Any]]


def read(path: Path) -> Lines:
    """The runs of a log, in their order; none of a log that is not there."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def spread(values: Sequence[float], scale: float = 100.0) -> str:
    """Mean and deviation (n - 1) of several runs; of one run its value; a dash of none."""
    if not values:
        return "-"
    mean = f"{scale * float(np.mean(values)):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {scale * float(np.std(values, ddof=1)):.1f}"


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, its first column to the left and all others to the right."""
    ruler = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ruler, *rows])


def filled(page: Path, tables: Mapping[str, Callable[[], str]]) -> str:
    """The text of a page with its tables as the logs have them.

    Raises:
        ValueError: a table that has no place on the page.
    """
    text = page.read_text(encoding="utf-8")
    for name, table in tables.items():
        place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not place.search(text):
            raise ValueError(f"{page.name}: expected <!-- {name} --> and <!-- /{name} -->, got neither")
        made = table()
        text = place.sub(lambda found, made=made: f"{found[1]}{made}\n{found[2]}", text)  # type: ignore[misc]
    return text

"""Tables of docs/pretraining.md from the logs: each between ``<!-- NAME -->`` and ``<!-- /NAME -->``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pretraining.films_tables import films_tables, forrest_gump_tables

LOGS = Path(__file__).resolve().parents[1] / "results" / "pretraining"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "pretraining.md"
Lines = list[dict[str, Any]]


def read(name: str) -> Lines:
    """The runs of ``NAME.jsonl``, in their order."""
    path = LOGS / f"{name}.jsonl"
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


def movienet() -> str:
    """AP on the validation films by number of labelled films, of each method; runs of one method differ by seed."""
    lines = [line for line in read("movienet") if line["method"] != "mega" and not line.get("ablation")]
    counts = sorted({line["movies"] for line in lines})
    kinds = list(dict.fromkeys((line["method"], line["mode"]) for line in lines))
    kinds.sort(key=lambda kind: (_METHODS.index(kind[0]), _MODES.index(kind[1])))
    rows = [
        [f"{method.replace('_', '-')}, {mode}"]
        + [
            spread([line["ap"] for line in lines if (line["method"], line["mode"], line["movies"]) == (*kind, count)])
            for count in counts
        ]
        for kind in kinds
        for method, mode in [kind]
    ]
    every = [line["ap"] for line in read("movienet") if line["method"] == "mega" and not line.get("ablation")]
    rows.append(["MEGA", *["-"] * (len(counts) - 1), spread(every)])
    return markdown(["scene head", *[f"{count} films" for count in counts]], rows)


_METHODS = ("contextualizer", "long_range")
_MODES = ("scratch", "frozen", "fine-tuned")
TABLES: dict[str, Callable[[], str]] = {
    "movienet": movienet,
    "films": lambda: films_tables(read("films")),
    "forrest-gump": lambda: forrest_gump_tables(read("forrest-gump")),
}


def filled(text: str) -> str:
    """A page with its tables as the logs have them.

    Raises:
        ValueError: a table that has no place on the page.
    """
    for name, table in TABLES.items():
        place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not place.search(text):
            raise ValueError(f"{PAGE.name}: expected <!-- {name} --> and <!-- /{name} -->, got neither")
        made = table()
        text = place.sub(lambda found, made=made: f"{found[1]}{made}\n{found[2]}", text)  # type: ignore[misc]
    return text

"""``python -m benchmarks [CASE...] [--only PART...] [--no-amx] [--json FILE] [--table FILE]``: run, print, keep."""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import cases
from benchmarks.amx import refuse_amx
from benchmarks.plots import plot
from benchmarks.report import markdown, number
from benchmarks.rows import Row, as_dict, environment

PARTED = ("cpu", "serve", "revisions", "encoder", "install", "search", "video", "video_scenes")
ASKED_FOR = ("gpu", "install", "report", "revisions", "search", "video", "video_scenes")  # only where they are named
PIECEWISE = ("cpu", "gpu", "long_range", "scene_pairs", "search", "video_scenes")  # cases whose rows are several lists
NAMES = [module.name for module in pkgutil.iter_modules(cases.__path__)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "cases",
        nargs="*",
        metavar="CASE",
        help=f"all but {' and '.join(ASKED_FOR)} without any; one of {', '.join(NAMES)}",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="PART",
        help="parts of cases cpu, serve, install (extras) and search; the other checkout; the folder of video_scenes",
    )
    parser.add_argument("--no-amx", action="store_true", help="every subject runs as on a machine without AMX")
    parser.add_argument("--files", type=Path, metavar="DIR", help="case cpu: keep what the peers compiled in a folder")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows, with machine, versions and commit")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="write pictures of the rows of benchmarks/results")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the rows of benchmarks/results as Markdown")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.cases) - set(NAMES))
    if unknown:
        parser.error(f"expected one of {', '.join(NAMES)}, got {', '.join(unknown)}")
    if arguments.no_amx:
        refuse_amx()
    if arguments.cases or not (arguments.table or arguments.plots):
        names = arguments.cases or [name for name in NAMES if name not in ASKED_FOR]
        measure(names, tuple(arguments.only), arguments.json, arguments.files)
    if arguments.table:
        arguments.table.write_text(markdown(), encoding="utf-8")
    if arguments.plots:
        plot(arguments.plots)


def measure(names: list[str], only: tuple[str, ...], path: Path | None, folder: Path | None) -> None:
    document: dict[str, Any] = {"environment": environment(), "rows": []}
    if only and path and path.exists():  # other parts, measured on this machine and commit today
        kept = json.loads(path.read_text(encoding="utf-8"))
        document = kept if kept["environment"] == document["environment"] else document
    for name in names:
        module = importlib.import_module(f"benchmarks.cases.{name}")
        if name == "gpu":
            document["environment"] |= module.environment()
        given = (only, folder) if name == "cpu" else (only,) if name in PARTED else ()
        found = module.run(*given)
        for rows in found if name in PIECEWISE else [found]:
            show(rows)
            newer = {(row.case, row.subject) for row in rows}
            older = [row for row in document["rows"] if (row["case"], row["subject"]) not in newer]
            document["rows"] = older + [as_dict(row) for row in rows]
            if path:
                path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def show(rows: list[Row]) -> None:
    table = Table("case", "subject", "p20", "p50", "p80", "unit", "facts")
    for row in rows:
        facts = ", ".join(f"{key} {number(value)}" for key, value in row.facts.items())
        values = [f"{value:.4g}" if row.repeats else "-" for value in (row.p20, row.p50, row.p80)]
        table.add_row(row.case, row.subject, *values, row.unit, facts)
    Console(width=None if sys.stdout.isatty() else 200).print(table)


if __name__ == "__main__":
    main()

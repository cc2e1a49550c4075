"""docs/benchmarks.md from the committed rows: nothing in it is typed by hand."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.rows import ROOT

RESULTS = ROOT / "benchmarks" / "results"
HEADER = """# Benchmarks

Written by `python -m benchmarks --table docs/benchmarks.md` from the rows in `benchmarks/results/`; measure your own
with `python -m benchmarks` (about half an hour) and keep them with `--json FILE`. Times are p20, p50, p80 of runs
taken in turns with the other subjects; errors are against the float64 reference in the same run, as a share of
max(1, |logit|), `max_abs` as they are. Peers (`pip install 'megaseg[bench]'`, `python -m benchmarks cpu`) run the model
as written, each in a process of its own, at its fastest batch size and mode, on windows gathered beforehand. `ratio` is
ours to the best of them, `ours_is` ours to this one, `of_ceiling` the share of what the CPU's multiply-adds reach when
nothing touches memory.
"""
_SHOWN = (
    *(
        "movies",
        "shots_per_s",
        "speedup",
        "ratio",
        "best_peer",
        "must",
        "aim",
        "speed",
        "ours_is",
        "error",
        "error_limit",
    ),
    *("accuracy", "max_abs", "worst", "of_torch", "gflop_per_s", "of_ceiling", "allowed", "target", "batch", "mode"),
    *("p99", "max", "largest_that_held", "holds", "lost", "reordered", "wrong", "windows_per_s", "windows_per_batch"),
    *("slower", "accepted", "refused", "counted_by_service", "p99_to_that_at_capacity", "grown_mib", "rss_mib"),
    *("of_one_thread", "generator_cores", "service_cores", "cores", "million_titles_core_hours", "mbytes"),
    *("memory_mib_above_weights_and_features", "memory_mib", "unlike_float64", "not_counted", "unsupported"),
)


def markdown() -> str:
    parts = [HEADER]
    for path in sorted(RESULTS.glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        where = ", ".join(f"{key} {value}" for key, value in document["environment"].items() if value is not None)
        parts += [f"\n## {path.stem}\n\n{where}\n\n| case | subject | p20 / p50 / p80 | | |\n|---|---|---|---|---|"]
        parts += [_line(row) for row in document["rows"]]
    return "\n".join(parts) + "\n"


def _line(row: dict[str, Any]) -> str:
    times = " / ".join(number(row[key]) for key in ("p20", "p50", "p80")) if row["repeats"] else "-"
    facts = ", ".join(f"{key} {number(row['facts'][key])}" for key in _SHOWN if key in row["facts"])
    unit = row["unit"].replace("|", "\\|")
    return f"| {row['case']} | {row['subject']} | {times} | {unit} | {facts} |"


def number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

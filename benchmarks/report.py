"""docs/benchmarks.md from the committed rows, the few that a reader wants first: nothing in it is typed by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from benchmarks.rows import ROOT
from benchmarks.summary import TABLES, Document

RESULTS = ROOT / "benchmarks" / "results"
HEADER = """# Benchmarks

Made by `python -m benchmarks --table docs/benchmarks.md` from the rows in `benchmarks/results/`. Measure your own
machine with `python -m benchmarks` (about half an hour; `python -m benchmarks cpu` for the first table alone) and keep
the rows with `--json FILE`. On a machine with AMX, `--no-amx` measures every subject as on one without: the kernel
refuses tiles to all of them. `--files DIR` keeps what the peers compiled for another run, and `MEGASEG_PEERS_PYTHON`
names a Python with a newer torch, whose rows are called "(newest)".
"""
METHOD = """## How it is measured

- Runs of the subjects of a case take turns. Tables above show the median, the rows below p20, p50 and p80.
- Peers (`pip install 'megaseg[bench]'`) run the model as written, each in a process of its own, at its fastest batch
  size and mode, on windows gathered beforehand. int8 of OpenVINO is NNCF's and that of torch.compile is torch's own for
  x86, both calibrated on features of the same kind; int8 of ONNX Runtime, torch eager and ExecuTorch needs none.
- Errors are against the float64 reference in the same run, as a share of max(1, |logit|); `max_abs` is absolute.
- `ratio` is megaseg to the best peer of the case, `ours_is` megaseg to the peer of that row. `must` and `aim` are
  targets set before measuring; `speed` and `accuracy` say whether megaseg met them. `of_ceiling` is the share of what
  the CPU's multiply-adds reach when nothing touches memory.
"""
ORDER = (
    "cpu",
    "scaling",
    "serve",
    "catalog",
    "encoder",
    "long-range",
    "onnx",
    "estep",
    "scene-pairs",
    "neighbours",
    "revisions",
    "gpu",
    "accuracy",
    "video",
    "video-scenes",
    "shots",
    "export",
    "report",
)  # of the raw rows
_SHOWN = (
    *("movies", "shots_per_s", "speedup", "ratio", "best_peer", "must", "aim", "speed", "ours_is", "error"),
    *("error_limit", "accuracy", "max_abs", "worst", "of_torch", "gflop_per_s", "of_ceiling", "allowed", "target"),
    *("batch", "mode", "p99", "max", "largest_that_held", "holds", "lost", "reordered", "wrong", "windows_per_s"),
    *("windows_per_batch", "slower", "accepted", "refused", "counted_by_service", "p99_to_that_at_capacity"),
    *("grown_mib", "rss_mib", "of_one_thread", "generator_cores", "service_cores", "cores"),
    *("million_titles_core_hours", "mbytes", "memory_mib_above_weights_and_features", "memory_mib", "unlike_float64"),
    *("of_decoding", "first_s", "peak_mib", "seconds", "not_counted", "unsupported"),
    *("unlike_float32", "scenes", "checked", "version", "precision"),
    *("picture_bytes", "chromium", "scene_pairs"),
    *("mean_ap", "pooled_ap", "f1_at_0", "f1_at_1", "f1_at_2"),
)


def markdown() -> str:
    documents = [Document(path.stem, **json.loads(path.read_text(encoding="utf-8"))) for path in RESULTS.glob("*.json")]
    documents.sort(key=lambda document: (_rank(document.name), document.name))
    parts = [HEADER, *(line for table in TABLES for line in table(documents)), METHOD, *_raw(documents)]
    return "\n".join(parts) + "\n"


def _rank(name: str) -> int:
    return next((rank for rank, kind in enumerate(ORDER) if name.endswith(kind)), len(ORDER))


def _raw(documents: list[Document]) -> Iterator[str]:
    yield "## All rows"
    for document in documents:
        where = ", ".join(f"{key} {value}" for key, value in document.environment.items() if value is not None)
        yield f"\n### {document.name}\n\n{where}\n\n| case | subject | p20 / p50 / p80 | | |\n|---|---|---|---|---|"
        yield from (_line(row) for row in document.rows)


def _line(row: dict[str, Any]) -> str:
    times = " / ".join(number(row[key]) for key in ("p20", "p50", "p80")) if row["repeats"] else "-"
    facts = ", ".join(f"{key} {number(row['facts'][key])}" for key in _SHOWN if key in row["facts"])
    unit = row["unit"].replace("|", "\\|")
    return f"| {row['case']} | {row['subject']} | {times} | {unit} | {facts} |"


def number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

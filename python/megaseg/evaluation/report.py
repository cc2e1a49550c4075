"""The tables of docs/results.md from the logs of act training runs, in the form of the paper's Tables 2 and 3."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from megaseg.errors import FeatureError

FIGURES = ("ta", "pa", "d")
Row = tuple[str, ...]
# MEGA supplementary, Tables 2 and 3: 38 test movies of TRIPOD, mean and (where printed) deviation over 8 runs.
PUBLISHED: tuple[Row, ...] = (
    ("Random (even distribution)", "-", "T*", "4.82", "6.95", "12.35"),
    ("Theory", "-", "T*", "4.41", "6.32", "11.03"),
    ("Distribution position", "-", "T*", "5.59", "7.37", "10.74"),
    ("TextRank", "T", "T*", "6.18", "10.00", "17.77"),
    ("SceneSum", "T", "T*", "4.41", "7.89", "16.86"),
    ("TAM", "T", "T*", "7.94", "9.47", "9.42"),
    ("GraphTP", "T", "T*", "6.76", "10.00", "9.62"),
    ("GraphTP", "T+A+V", "T*", "9.12", "12.63", "9.77"),
    ("MEGA*", "T+V", "T*", "11.14 (1.77)", "15.20 (2.33)", "8.96 (0.35)"),
    ("MEGA", "V", "V", "13.93 (2.21)", "20.72 (2.28)", "9.19 (0.58)"),
    ("MEGA", "T+V", "T+V", "14.63 (1.10)", "21.78 (1.22)", "8.96 (0.65)"),
)
ABLATIONS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "without alignment encoding in shots (Table 2a)": lambda config: not config["align_in_shots"],
    "without alignment encoding in bottleneck tokens (Table 2b)": lambda config: not config["align_in_bottlenecks"],
    "late fusion instead of bottleneck (Table 2c)": lambda config: bool(config["late_fusion"]),
}


@dataclass(frozen=True, slots=True)
class Run:
    """One run of ``megaseg train act``: its run.json and the last scored result of each seed."""

    name: str
    about: dict[str, Any]
    seeds: list[dict[str, Any]]

    @property
    def config(self) -> dict[str, Any]:
        """Fields of ``ActConfig``."""
        own: dict[str, Any] = self.about["config"]
        return own

    @property
    def ablation(self) -> str | None:
        """Name of the part that the run leaves out; None for the whole model."""
        return next((title for title, left_out in ABLATIONS.items() if left_out(self.config)), None)

    def figures(self, row: str = "validation") -> Row:
        """Mean and, for more than one seed, sample standard deviation of TA, PA and D."""
        values = np.array([[seed[row][key] for key in FIGURES] for seed in self.seeds])
        if len(values) == 1 or row != "validation":
            return tuple(f"{value:.2f}" for value in values.mean(0))
        return tuple(f"{m:.2f} ({s:.2f})" for m, s in zip(values.mean(0), values.std(0, ddof=1), strict=True))


def read_run(folder: str | Path) -> Run:
    """Read a run's folder.

    Raises:
        FeatureError: no run.json, no seed, or a seed without scored validation; names the file.
    """
    folder = Path(folder)
    try:
        about = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        logs = sorted(folder.glob("seed-*/log.jsonl"))
        if not logs:
            raise FeatureError(f"{folder}: expected a run of megaseg train act, found no seed-*/log.jsonl")
        run = Run(about["name"], about, [_last(log) for log in logs])
        _ = run.config, run.ablation, run.figures()
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise FeatureError(f"{folder}: expected a run of megaseg train act with scored seeds, got: {error}") from error
    return run


def _last(log: Path) -> dict[str, Any]:
    events = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    scored = [event for event in events if "validation" in event]
    if not scored:
        raise FeatureError(f"{log}: expected a result scored on validation movies, found none")
    last: dict[str, Any] = scored[-1]
    return last


def report(folders: Sequence[str | Path]) -> str:
    """Markdown: the runs beside the published rows, then the ablations beside the whole model.

    Raises:
        FeatureError: a folder that is no run, or runs that were scored on different movies.
    """
    runs = [read_run(folder) for folder in folders]
    scored = {(run.seeds[0]["scored"], run.seeds[0]["labels"], run.about["validation_gold"]) for run in runs}
    if len(scored) > 1:
        raise FeatureError(f"results: expected runs scored on the same movies, got {sorted(scored)}")
    movies, labels, gold = scored.pop()
    first = runs[0].seeds[0]
    return "\n".join(
        [
            f"Ours: {movies} movies, {first['events']} turning points, {labels} scene labels ({gold}); "
            f"{runs[0].about['split']}.",
            "",
            *_table(("", "modality", "synchronised by", "TA", "PA", "D"), _main_rows(runs)),
            "",
            *_table(("ablation", "TA", "PA", "D", "seeds"), _ablation_rows(runs)),
            "",
        ]
    )


def _main_rows(runs: Sequence[Run]) -> Iterator[Row]:
    whole = [run for run in runs if run.ablation is None]
    for name, *published in PUBLISHED:
        yield (f"{name}, published", *published)
    for run in whole[:1]:
        yield ("**theory, our movies**", "-", "-", *run.figures("theory"))
        yield ("**prior of the labels, our movies**", "-", "-", *run.figures("prior"))
    for run in whole:
        name = "MEGA*" if run.config["variant"] == "mega*" else "MEGA"
        seeds = f"{len(run.seeds)} seeds" if len(run.seeds) > 1 else "1 seed"
        cells = run.about["modality"], run.about["synchronised_by"], *run.figures()
        yield (f"**{name}, our movies, {seeds}**", *cells)


def _ablation_rows(runs: Sequence[Run]) -> Iterator[Row]:
    for run in runs:
        if run.config["variant"] == "mega":
            yield (run.ablation or "whole model", *run.figures(), str(len(run.seeds)))


def _table(head: Row, rows: Iterator[Row]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"

"""Tables of results from the logs of training runs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from megaseg.cli.results import BEGIN, END, results
from megaseg.errors import FeatureError
from megaseg.evaluation.report import report
from megaseg.training.recipes.act.config import ActConfig


def write_run(folder: Path, figures: list[tuple[float, float, float]], labels: int = 40, **config: Any) -> Path:
    about = {
        "name": folder.name,
        "modality": "T",
        "synchronised_by": "T",
        "config": dataclasses.asdict(ActConfig(**config)),
        "split": "by movie",
        "validation_gold": "CSV",
    }
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(about))
    for seed, row in enumerate(figures):
        event = {"event": "result", "scored": 8, "events": 40, "labels": labels}
        for name, values in (("validation", row), ("theory", (5.0, 6.0, 11.0)), ("prior", (4.0, 5.0, 10.0))):
            event[name] = dict(zip(("ta", "pa", "d"), values, strict=True))
        (folder / f"seed-{seed}").mkdir()
        (folder / f"seed-{seed}/log.jsonl").write_text('{"event": "epoch"}\n' + json.dumps(event) + "\n")
    return folder


def test_tables_hold_means_and_deviations(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / "mega", [(14.0, 20.0, 9.0), (16.0, 24.0, 8.0)]),
        write_run(tmp_path / "star", [(10.0, 15.0, 9.5)], variant="mega*"),
        write_run(tmp_path / "late", [(12.0, 19.0, 10.0)], late_fusion=True),
        write_run(tmp_path / "shots", [(1.0, 2.0, 3.0)], align_in_shots=False),
        write_run(tmp_path / "bottlenecks", [(4.0, 5.0, 6.0)], align_in_bottlenecks=False),
    ]
    text = report(runs)
    assert "| **MEGA, our movies, 2 seeds** | T | T | 15.00 (1.41) | 22.00 (2.83) | 8.50 (0.71) |" in text
    assert "| **MEGA*, our movies, 1 seed** | T | T | 10.00 | 15.00 | 9.50 |" in text
    assert "| **theory, our movies** | - | - | 5.00 | 6.00 | 11.00 |" in text
    assert "| MEGA, published | T+V | T+V | 14.63 (1.10) | 21.78 (1.22) | 8.96 (0.65) |" in text
    assert "| late fusion instead of bottleneck (Table 2c) | 12.00 | 19.00 | 10.00 | 1 |" in text
    assert "| without alignment encoding in shots (Table 2a) | 1.00 |" in text
    assert "| whole model | 15.00 (1.41) |" in text
    assert "8 movies, 40 turning points, 40 scene labels (CSV); by movie" in text


def test_a_page_keeps_what_is_around_the_tables(tmp_path: Path) -> None:
    run = write_run(tmp_path / "mega", [(14.0, 20.0, 9.0)])
    page = tmp_path / "results.md"
    page.write_text(f"# Results\n\n{BEGIN}\nold\n{END}\n\nAfter.\n")
    results([run], page)
    text = page.read_text()
    assert text.startswith(f"# Results\n\n{BEGIN}\nOurs: 8 movies")
    assert text.endswith(f"{END}\n\nAfter.\n")
    assert "old" not in text
    page.write_text("no marks")
    with pytest.raises(FeatureError, match=r"results\.md: expected a page with the marks"):
        results([run], page)
    assert page.read_text() == "no marks"


def test_what_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match=r"none: expected a run of megaseg train act"):
        report([tmp_path / "none"])
    with pytest.raises(FeatureError, match="found no seed"):
        report([write_run(tmp_path / "empty", [])])
    run = write_run(tmp_path / "unscored", [(1.0, 2.0, 3.0)])
    (run / "seed-0/log.jsonl").write_text('{"event": "result"}\n')
    with pytest.raises(FeatureError, match=r"log\.jsonl: expected a result scored"):
        report([run])


def test_runs_scored_on_different_movies_are_not_compared(tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", [(1.0, 2.0, 3.0)])
    other = write_run(tmp_path / "other", [(1.0, 2.0, 3.0)], labels=41)
    with pytest.raises(FeatureError, match="same movies"):
        report([one, other])

"""Turning-point metrics against the reference vectors, windows at the ends, and gold files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from megaseg.errors import CheckpointError, FeatureError
from megaseg.evaluation.act import PRIOR, THEORY, act_metrics, at_positions, read_gold, run_checkpoints, window

HEADER = "name,tp1,tp2,tp3,tp4,tp5\n"


def test_the_vectors_match(shared: Path) -> None:
    cases = json.loads((shared / "vectors/turning-point-metrics.json").read_text())
    assert cases
    for case in cases:
        for name, peaks in case["peaks"].items():
            windows = [list(window(peak, case["num_scenes"][name])) for peak in peaks]
            assert windows == case["windows"][name]
        found = act_metrics(case["gold"], case["peaks"], case["num_scenes"])
        expected = case["expected"]
        assert (found.ta, found.pa, found.d) == pytest.approx((expected["TA"], expected["PA"], expected["D"]), abs=1e-9)


@pytest.mark.parametrize(
    ("peak", "scenes", "expected"),
    [(0, 5, [0, 1, 2]), (4, 5, [2, 3, 4]), (2, 5, [1, 2, 3]), (0, 1, [0]), (1, 2, [0, 1])],
)
def test_a_window_has_three_scenes_wherever_it_can(peak: int, scenes: int, expected: list[int]) -> None:
    assert list(window(peak, scenes)) == expected


def test_a_label_counts_as_often_as_it_is_listed() -> None:
    found = act_metrics({"a": [[3, 3, 9], [5], [5], [5], [0]]}, {"a": [2, 5, 0, 0, 9]}, {"a": 10})
    assert found.ta == pytest.approx(100 * 3 / 7)
    assert found.pa == pytest.approx(40)
    assert found.d == pytest.approx(100 * (0 + 0 + 3 + 3 + 7) / 50)


@pytest.mark.parametrize(
    ("gold", "message"),
    [
        ({}, "at least one movie"),
        ({"b": [[1]] * 5}, "b: expected features"),
        ({"a": [[1]] * 4}, "a: expected gold scenes of 5"),
        ({"a": [[1], [], [1], [1], [1]]}, "a: turning point 2: expected scenes from 0 to 9"),
        ({"a": [[1], [1], [1], [1], [10]]}, "a: turning point 5"),
    ],
)
def test_gold_that_does_not_fit_is_refused(gold: dict[str, list[list[int]]], message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        act_metrics(gold, {"a": [0, 0, 0, 0, 0]}, {"a": 10})


def test_positions_stay_inside_the_movie() -> None:
    assert at_positions(THEORY, 100) == [10, 25, 50, 75, 94]
    assert at_positions((*PRIOR, 1.0), 1) == [0] * 6


def test_a_gold_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "gold.csv"
    file.write_text(HEADER + '"Heat, the film",1 2,3,4,5,6\n\nb,0,1,2,3,4\n')
    assert read_gold(file) == {"Heat, the film": [[1, 2], [3], [4], [5], [6]], "b": [[0], [1], [2], [3], [4]]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "gold.csv:1: expected the columns"),
        ("name,tp1\n", "gold.csv:1"),
        (HEADER, "at least one movie"),
        (HEADER + "a,1,2,3\n", "gold.csv:2: expected one row"),
        (HEADER + "a,1,2,,4,5\n", "gold.csv:2: tp3: expected scene indices"),
        (HEADER + "a,1,2,x,4,5\n", "gold.csv:2: tp3"),
        (HEADER + "a,1,2,-3,4,5\n", "gold.csv:2: tp3"),
        (HEADER + "a,1,2,3,4,5\na,1,2,3,4,5\n", "gold.csv:3: .*a a second time"),
    ],
)
def test_a_bad_gold_file_names_line_and_column(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "gold.csv"
    file.write_text(text)
    with pytest.raises(FeatureError, match=message):
        read_gold(file)


def test_a_gold_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="none.csv"):
        read_gold(tmp_path / "none.csv")


def test_a_run_folder_gives_its_seeds_in_order(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="seed-"):
        run_checkpoints(tmp_path)
    for seed in (1, 0):
        (tmp_path / f"seed-{seed}").mkdir()
        (tmp_path / f"seed-{seed}/act.safetensors").touch()
    assert [path.parent.name for path in run_checkpoints(tmp_path)] == ["seed-0", "seed-1"]

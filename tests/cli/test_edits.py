"""Edits of a person on the command line: kept by another run, and what differs between two results."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from support import Run, random_features, small_config

from megaseg import Features, Segmentation, save_features

CONFIG = small_config()


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    times = np.stack([np.arange(20) * 90, np.arange(20) * 90 + 90], axis=1)
    mapping = {**random_features(CONFIG, 20), "times": times, "time_base": "1/24"}
    save_features(tmp_path / "movie.npz", Features.from_mapping(mapping))
    return tmp_path / "movie.npz"


@pytest.fixture
def edited(run: Run, scene_checkpoint: Path, movie: Path, tmp_path: Path) -> Path:
    """A result of which a person locked two boundaries, barred one and named a scene."""
    _, out, _ = run("segment", movie, "-c", scene_checkpoint, "--json", "--num-scenes", "4")
    result = Segmentation.from_json(out).redecide(locked=[4, 11], barred=[7], threshold=1.0)
    path = tmp_path / "edited.json"
    path.write_text(dataclasses.replace(result, names={"scenes": {5: "Quay"}}).to_json())
    return path


def test_edits_are_kept(run: Run, scene_checkpoint: Path, movie: Path, edited: Path) -> None:
    arguments = ("segment", movie, "-c", scene_checkpoint, "--json", "--keep", edited)
    code, out, err = run(*arguments, "--threshold", "1")
    result = Segmentation.from_json(out)
    assert (code, err) == (0, "")
    assert result.boundaries.tolist() == [4, 11]
    assert result.decision.barred == (7,)
    assert result.names == {"scenes": {5: "Quay"}}
    code, out, err = run(*arguments, "--num-scenes", "2")
    assert (code, out) == (2, "")
    assert "--num-scenes: expected at least 3 scenes for 2 locked boundaries, got 2" in err


def test_edits_are_of_one_movie(run: Run, scene_checkpoint: Path, movie: Path, edited: Path, tmp_path: Path) -> None:
    code, _, err = run("segment", movie, movie, "-c", scene_checkpoint, "--keep", edited)
    assert (code, err) == (2, "error: --keep: expected one movie with it, got 2\n")
    save_features(tmp_path / "other.npz", Features(random_features(CONFIG, 9)))
    code, _, err = run("segment", tmp_path / "other.npz", "-c", scene_checkpoint, "--keep", edited)
    assert code == 2
    assert "other.npz: --keep: expected an edited result of the same 9 shots" in err
    code, _, err = run("segment", movie, "-c", scene_checkpoint, "--keep", movie)
    assert (code, err) == (2, f"error: {movie}: expected the JSON of a result, got binary data\n")


def test_differences_are_lines_or_json(run: Run, edited: Path, tmp_path: Path) -> None:
    result = Segmentation.from_json(edited.read_text())
    other = tmp_path / "other.json"
    now = dataclasses.replace(result.redecide(locked=[4, 12, 16]), names={"scenes": {5: "Quay \x1b[2J"}})
    other.write_text(now.to_json())
    assert run("diff", edited, edited) == (0, "scenes: 2 boundaries the same\n", "")
    code, out, _ = run("diff", edited, other, "--tolerance", "4")
    assert code == 1
    assert out.splitlines() == [
        "scenes: 1 boundaries the same, 1 moved, 1 added, 1 renamed",
        '= 00:00:18.750 "Quay" -> "Quay \\x1b[2J"',
        "~ 00:00:45.000 -> 00:00:48.750",
        "+ 00:01:03.750",
    ]
    code, out, _ = run("diff", edited, other, "--json")
    assert code == 1
    found = json.loads(out)
    assert found["unit"] == "seconds"
    assert found["tracks"]["scenes"]["removed"] == [45.0]
    assert found["tracks"]["scenes"]["added"] == [48.75, 63.75]
    assert found["tracks"]["scenes"]["renamed"] == [{"at": 18.75, "before": "Quay", "now": "Quay \x1b[2J"}]
    code, out, err = run("diff", edited, tmp_path / "movie.npz")
    assert (code, out) == (2, "")
    assert "expected the JSON of a result" in err


def test_scenes_in_time(run: Run, edited: Path, tmp_path: Path) -> None:
    reference = tmp_path / "reference.txt"
    reference.write_text("0:00 Start\n0:19.5 Quay\n1:10 Storm\n")
    code, out, err = run("eval", "scenes-in-time", edited, reference, "--json", "--tolerance", "1", "--tolerance", "30")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert (found["predicted"], found["reference"]) == (2, 2)
    assert [(one["tolerance"], one["pairs"]) for one in found["seconds"]] == [(1, 1), (30, 2)]
    assert [one["pairs"] for one in found["shots"]] == [1, 1, 1]  # boundaries after shots 4 and 11, and 4 and 18
    assert found["distance"] == (0.75 + 25) / 2
    code, out, _ = run("eval", "scenes-in-time", reference, edited)
    assert code == 0
    assert "2 boundaries, 2 in the reference" in out
    assert "2 shots" in out
    assert out.splitlines()[-1].endswith(f"median distance {(0.75 + 25) / 2:.2f} s")
    for arguments, message in (
        (("--tolerance", "nan"), "--tolerance: expected a finite number, got nan"),
        (("--tolerance", "-1"), "--tolerance: expected 0 or more seconds, got -1"),
        (("--track", "acts"), "edited.json: --track: expected scenes, got 'acts'"),
        (("--frame-rate", "x"), "--frame-rate: expected frames a second"),
    ):
        code, out, err = run("eval", "scenes-in-time", edited, reference, *arguments)
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert message in err
    code, _, err = run("eval", "scenes-in-time", edited, tmp_path / "movie.npz")
    assert code == 2
    assert "movie.npz: expected a result or a list of boundaries, got binary data" in err

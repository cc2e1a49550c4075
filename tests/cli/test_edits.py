"""Edits of a person on the command line: kept by another run, and what differs between two results."""

from __future__ import annotations

import dataclasses
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

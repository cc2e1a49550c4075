"""The label file of MovieNet-SSeg: what it says, and what is wrong with it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megaseg.errors import FeatureError
from megaseg.features.movienet.films import read_films

FILM = {"split": "train", "shots": [[0, 23], [24, 71], [72, 72]], "labels": [-1, 1, None]}


def write(path: Path, **films: Any) -> Path:
    path.write_text(json.dumps(films))
    return path


def test_both_labels_end_scenes_and_frames_are_inclusive(tmp_path: Path) -> None:
    path = write(tmp_path / "labels.json", tt1=FILM, tt2=FILM | {"split": "val", "labels": [None] * 3})
    first, second = read_films(path)
    assert first.labels is not None
    np.testing.assert_array_equal(first.labels, [1, 1, 0])
    np.testing.assert_array_equal(first.times, [[0, 24], [24, 72], [72, 73]])
    np.testing.assert_allclose(first.milliseconds[:2], [[0, 1001], [1001, 3003]])
    assert (second.name, second.split, second.labels) == ("tt2", "val", None)
    assert [film.name for film in read_films(path, "val")] == ["tt2"]
    with pytest.raises(FeatureError, match="expected films of split test, got none"):
        read_films(path, "test")


def test_gzipped_files_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "labels.json.gz"
    path.write_bytes(gzip.compress(json.dumps({"tt1": FILM}).encode()))
    assert [film.name for film in read_films(path)] == ["tt1"]
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(FeatureError, match=r"labels.json.gz: expected a JSON object of films"):
        read_films(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "dev"}, "tt1: expected an object whose split is one of train, val, test, got 'dev'"),
        ({"shots": [[0, 23], [24]]}, "tt1: shots: expected pairs"),
        ({"shots": []}, "tt1: shots: expected pairs"),
        ({"shots": [[0, 23.5], [24, 71], [72, 73]]}, "tt1: shots: expected pairs"),
        ({"shots": [[0, 23], [20, 71], [72, 73]]}, r"got \[20, 71\] at shot 1"),
        ({"labels": [0, 1]}, "tt1: labels: expected one for each of 3 shots, got 2"),
        ({"labels": [0, 2, 1]}, "tt1: labels: expected 0, 1, -1 or null, got 2"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        read_films(write(tmp_path / "labels.json", tt1=FILM | change))


def test_an_id_that_leaves_the_folder(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="expected an id that can name a file, got '../tt1'"):
        read_films(write(tmp_path / "labels.json", **{"../tt1": FILM}))


def test_no_label_file(tmp_path: Path) -> None:
    for path, got in ((tmp_path / "none.json", "no file"), (write(tmp_path / "list.json"), "")):
        if got:
            with pytest.raises(FeatureError, match="expected a JSON object of films"):
                read_films(path)
        else:
            path.write_text("[]")
            with pytest.raises(FeatureError, match="got list"):
                read_films(path)

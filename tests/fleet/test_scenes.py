"""Scenes of a catalogue for an index: the callable class of Ray Data, and ``megaseg index`` on a cluster."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from search.movies import describer, write_movies

from megaseg.catalog.workers import hand_of, outcomes_of
from megaseg.ray import SceneEmbedder
from megaseg.search import SceneIndex
from megaseg.search.writer import TitleScenes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_movies(tmp_path, 4)


def test_a_batch_of_titles(folder: Path) -> None:
    hand = SceneEmbedder(folder / "encoder.safetensors", num_threads=1)
    (about,) = hand.describe()
    assert (about["encoder"], about["width"]) == (describer().digest, 24)
    (folder / "movies" / "torn.npz").write_bytes(b"PK")
    paths = sorted(str(path) for path in (folder / "movies").iterdir())
    rows = hand({"path": paths, "id": list("abcde")})
    assert rows["id"] == list("abcde")
    assert [error is None for error in rows["error"]] == [True] * 4 + [False]
    assert "torn.npz: expected a readable .npz" in rows["error"][4]
    for path, data in zip(paths[:4], rows["result"][:4], strict=True):
        expected, made = describer().describe(path).kept(), TitleScenes.from_bytes(data)
        assert np.array_equal(made.vectors, expected.vectors)
        assert np.array_equal(made.scenes, expected.scenes)


def test_results_are_found_by_title(folder: Path) -> None:
    hand = hand_of({"makes": "scenes", "checkpoint": folder / "encoder.safetensors", "scenes": str(folder / "movies")})
    (outcome,) = outcomes_of(hand, [("m1", str(folder / "movies" / "m1.npz"))])
    assert outcome.result is None
    assert "scenes: expected the result of 'm1' as" in str(outcome.error)


@pytest.mark.slow
def test_an_index_of_a_cluster_is_that_of_one_process(folder: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra fleet")
    own = ["index", str(folder / "movies"), "-c", str(folder / "encoder.safetensors"), "--json", "--threads", "1"]
    for name, more in (("here", []), ("there", ["--ray", "local", "--workers", "2"])):
        line = [sys.executable, "-m", "megaseg", *own, "-o", str(folder / name), *more]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["added"] == ["m0", "m1", "m2", "m3"]
    here, there = SceneIndex.open(folder / "here"), SceneIndex.open(folder / "there")
    for title in here.manifest.titles:
        assert np.array_equal(here.vectors(title), there.vectors(title))
        assert np.array_equal(here.scenes(title), there.scenes(title))

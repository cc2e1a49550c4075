"""Rows of scenes: means of their blocks, words as the clock, and the scene numbers that sources give."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megaseg.errors import FeatureError
from megaseg.features.screenplay.files import read_screenplays
from megaseg.features.screenplay.scenes import RECIPE, scene_features
from megaseg.features.screenplay.screenplay import ACTION, DIALOGUE, Block, Screenplay


def play(words: list[int]) -> Screenplay:
    kinds = [ACTION if i % 2 == 0 else DIALOGUE for i in range(len(words))]
    blocks = [
        Block(k, "" if k == ACTION else "ANNA", "Anna " + "runs " * (n - 1)) for k, n in zip(kinds, words, strict=True)
    ]
    return Screenplay("movie", tuple(blocks), None)


def test_rows_are_means_and_empty_scenes_are_zeros() -> None:
    vectors = np.random.default_rng(0).standard_normal((5, 384)).astype(np.float32)
    found = scene_features(play([3, 4, 5, 6, 7]), vectors, np.array([0, 0, 0, 2, 2]), 3)
    assert found.recipe == RECIPE
    assert found.num_shots == 3
    np.testing.assert_allclose(found.modalities["description"][0], vectors[[0, 2]].mean(0), rtol=1e-6)
    np.testing.assert_allclose(found.modalities["dialogue"][2], vectors[3], rtol=1e-6)
    assert not found.modalities["description"][1].any()
    assert not found.modalities["dialogue"][1].any()


def test_words_are_the_clock() -> None:
    found = scene_features(play([10, 80, 10]), np.zeros((3, 384), np.float32), np.array([0, 1, 2]), 3)
    bumps = found.modalities["structure"][:, :16]
    middles = np.array([0.05, 0.5, 0.95])
    np.testing.assert_allclose(
        bumps, np.exp(-0.5 * ((middles[:, None] - np.linspace(0, 1, 16)) / 0.06) ** 2), atol=1e-6
    )
    lengths = found.modalities["structure"][:, 16]
    np.testing.assert_allclose(lengths, np.log1p([10, 80, 10]), rtol=1e-6)


def test_any_cast_is_finite() -> None:
    blocks = tuple(Block(ACTION, "", "Rain.") for _ in range(4))
    found = scene_features(Screenplay("a", blocks, None), np.zeros((4, 384), np.float32), np.array([0, 1, 1, 1]), 2)
    assert found.modalities["structure"].shape == (2, 35)


@pytest.mark.parametrize("scenes", [[0, 1], [0, 0, 3], [-1, 0, 0]])
def test_scenes_that_do_not_fit_are_refused(scenes: list[int]) -> None:
    with pytest.raises(FeatureError, match="movie: expected a scene from 0 to 2"):
        scene_features(play([3, 3, 3]), np.zeros((3, 384), np.float32), np.array(scenes), 3)


def pack(path: Path, blocks: list[Any], **more: Any) -> Path:
    with gzip.open(path, "wt") as file:
        file.write(json.dumps({"name": "a", "blocks": blocks, **more}))
    return path


def test_tripod_counts_one_scene_less_than_it_numbers(tmp_path: Path) -> None:
    blocks = [["a", "", "x", None, 0], ["a", "", "x", 0, 0], ["d", "B", "x", 2, 1], ["a", "", "x", 3, 2]]
    [found] = read_screenplays(pack(tmp_path / "p.jsonl.gz", blocks))
    assert found.num_scenes == 3
    assert found.scenes is not None
    assert found.scenes.tolist() == [0, 0, 2, 2]
    [longer] = read_screenplays(pack(tmp_path / "q.jsonl.gz", blocks, headings=[[0, "INT. A", 0], [5, "INT. B", 0]]))
    assert longer.num_scenes == 5


def test_other_packs_count_as_they_number(tmp_path: Path) -> None:
    [found] = read_screenplays(pack(tmp_path / "p.jsonl.gz", [["a", "", "x", 0], ["a", "", "x", 1]]))
    assert found.num_scenes == 2
    [unnamed] = read_screenplays(pack(tmp_path / "q.jsonl.gz", [["a", "", "x", None], ["a", "", "x", None]]))
    assert unnamed.scenes is None


@pytest.mark.parametrize("numbers", [[1, 0], [0, -1], [0, "1"]])
def test_scene_numbers_that_make_no_sense_are_refused(tmp_path: Path, numbers: list[Any]) -> None:
    blocks = [["a", "", "x", number, 0] for number in numbers]
    with pytest.raises(FeatureError, match=r"p\.jsonl\.gz:1: a: expected scene numbers"):
        list(read_screenplays(pack(tmp_path / "p.jsonl.gz", blocks)))

"""Splits by movie depend on names alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from megaseg import Features, save_features
from megaseg.errors import FeatureError
from megaseg.evaluation.split import fold_of, labelled_files, select_fold

NAMES = [f"movie {i}" for i in range(200)]


def test_folds_part_the_movies_and_do_not_move() -> None:
    parts = [select_fold(NAMES, fold, 5, inside=True) for fold in range(5)]
    assert sorted(name for part in parts for name in part) == sorted(NAMES)
    assert all(20 <= len(part) <= 60 for part in parts)
    assert select_fold(NAMES[:50], 2, 5, inside=True) == [name for name in NAMES[:50] if name in parts[2]]
    assert set(select_fold(NAMES, 2, 5, inside=False)) == set(NAMES) - set(parts[2])
    assert [fold_of(name, 5) for name in ("Jaws_film", "Vertigo_film", "movie")] == [0, 4, 3]


def test_a_fold_that_does_not_exist_is_refused() -> None:
    with pytest.raises(FeatureError, match="0 to 4"):
        select_fold(NAMES, 5, 5, inside=True)


def test_only_labelled_files_count(tmp_path: Path) -> None:
    rows = {"clip": np.ones((3, 2), np.float32)}
    save_features(tmp_path / "b.npz", Features(rows, labels=np.array([0, 1, 1], np.uint8)))
    save_features(tmp_path / "a.npz", Features(rows))
    (tmp_path / "index.json").write_text("{}")
    assert list(labelled_files(tmp_path)) == ["b"]
    (tmp_path / "b.npz").unlink()
    with pytest.raises(FeatureError, match="none in 1 files"):
        labelled_files(tmp_path)
    with pytest.raises(FeatureError, match="nowhere"):
        labelled_files(tmp_path / "nowhere")

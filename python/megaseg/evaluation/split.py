"""Splits by movie: the fold of a movie depends on its name alone, not on the other movies."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from megaseg.engine.inputs.feature_files import load_features
from megaseg.engine.inputs.features import Features
from megaseg.errors import FeatureError


def fold_of(name: str, folds: int) -> int:
    """Fold 0..folds - 1 of a movie: SHA-256 of its file name without suffix, modulo ``folds``."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % folds


def labelled_files(folder: str | Path) -> dict[str, Features]:
    """Feature files of a folder (``.npz``, ``.safetensors``) that carry labels, by name, in order of name.

    Raises:
        FeatureError: not a folder, an unreadable file, or no labelled movie.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FeatureError(f"{folder}: expected a folder of feature files, found none")
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".npz", ".safetensors") and path.name[0] != ".")
    movies = {path.stem: load_features(path) for path in paths}
    labelled = {name: movie for name, movie in movies.items() if movie.labels is not None}
    if not labelled:
        raise FeatureError(f"{folder}: expected feature files with labels, found none in {len(movies)} files")
    return labelled


def select_fold(names: Iterable[str], fold: int, folds: int, *, inside: bool) -> list[str]:
    """Names inside fold ``fold`` of ``folds``, or all the others.

    Raises:
        FeatureError: a fold that does not exist.
    """
    if not 0 <= fold < folds:
        raise FeatureError(f"fold: expected 0 to {folds - 1}, got {fold}")
    return [name for name in names if (fold_of(name, folds) == fold) == inside]

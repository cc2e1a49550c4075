"""Splits by movie: the fold of a movie depends on its name alone, not on the other movies."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from megaseg.engine.inputs.feature_files import load_features
from megaseg.engine.inputs.features import Features
from megaseg.errors import FeatureError


def fold_of(name: str, folds: int) -> int:
    """Fold 0..folds - 1 of a movie: SHA-256 of its file name without suffix, modulo ``folds``."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % folds


def held_out(names: Sequence[str], share: float) -> list[str]:
    """The films that validate: the ``share`` of lowest SHA-256 of their names, rounded up, and never all."""
    order = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    chosen = set(order[: min(math.ceil(share * len(names)), len(names) - 1)])
    return [name for name in names if name in chosen]


def feature_files(*inputs: str | Path) -> dict[str, Features]:
    """Feature files (``.npz``, ``.safetensors``), alone or in folders, by file name without suffix, in order of name.

    Raises:
        FeatureError: a folder without any, an unreadable file, or two files of one name.
    """
    paths: dict[str, Path] = {}
    for given in map(Path, inputs):
        inside = [path for path in given.iterdir() if path.name[0] != "."] if given.is_dir() else [given]
        found = [path for path in inside if path.suffix in (".npz", ".safetensors")]
        if not found:
            there = "got a file of another kind" if given.exists() else "got no such file or folder"
            got = "found none" if given.is_dir() else there
            raise FeatureError(f"{given}: expected feature files (.npz, .safetensors), {got}")
        for path in found:
            known = paths.setdefault(path.stem, path)
            if known != path:
                raise FeatureError(f"{path}: expected a name of its own, got that of {known}")
    return {name: load_features(paths[name]) for name in sorted(paths)}


def labelled_files(folder: str | Path) -> dict[str, Features]:
    """Feature files of a folder that carry labels, by name, in order of name.

    Raises:
        FeatureError: not a folder, an unreadable file, or no labelled movie.
    """
    if not Path(folder).is_dir():
        raise FeatureError(f"{folder}: expected a folder of feature files, found none")
    movies = feature_files(folder)
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

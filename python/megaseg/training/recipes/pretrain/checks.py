"""What films must be to pretrain on them; every error names the film."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.features import Features
from megaseg.errors import FeatureError


def check_films(movies: Mapping[str, Features], modalities: Sequence[str], language: str | None) -> dict[str, int]:
    """The width of every modality; ``language`` is the one whose rows may be tokens of shots.

    Raises:
        FeatureError: fewer than two films; a film of one shot, of another recipe, without any of the modalities, with
            ids in place of features, of another width than the films before it, or with the same in all rows of a
            modality; a modality that no film has.
    """
    if len(movies) < 2:
        got = f"only {next(iter(movies))}" if movies else "none"
        raise FeatureError(f"films: expected at least 2, as films are each other's negatives, got {got}")
    first: dict[str, str] = {}
    recipe = next(iter(movies.values())).recipe
    for film, movie in movies.items():
        if movie.num_shots < 2:
            raise FeatureError(f"{film}: expected at least 2 shots, got 1: a shot alone has no context")
        if movie.recipe != recipe:
            raise FeatureError(f"{film}: expected features of recipe {recipe}, as before, got {movie.recipe}")
        there = [name for name in modalities if name in movie.modalities]
        if not there:
            raise FeatureError(
                f"{film}: expected any of the modalities {list(modalities)}, got {list(movie.modalities)}"
            )
        for name in there:
            rows, known = movie.modalities[name], first.setdefault(name, film)
            width = movies[known].modalities[name].shape[1]
            _check_rows(f"{film}: {name}", rows)
            if rows.shape[1] != width:
                raise FeatureError(f"{film}: {name}: expected {width} features, as {known} has, got {rows.shape[1]}")
            if name != language and name in movie.token_shots:
                raise FeatureError(f"{film}: {name}: expected a row a shot, got tokens of shots")
    if missing := [name for name in modalities if name not in first]:
        raise FeatureError(f"{missing[0]}: expected a modality of some film, none of {len(movies)} films has it")
    return {name: movies[first[name]].modalities[name].shape[1] for name in modalities}


def _check_rows(name: str, rows: NDArray[Any]) -> None:
    if rows.dtype == np.int32:
        raise FeatureError(f"{name}: expected float32 or float16, got int32 ids")
    if len(rows) > 1 and rows.any() and not np.ptp(rows, axis=0).any():
        raise FeatureError(
            f"{name}: expected rows that differ, got the same in all {len(rows)}: there is nothing to learn from it"
        )

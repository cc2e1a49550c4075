"""Films to train on: labelled raw features, perhaps in several feature spaces, and views of them as augmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.features import Features
from megaseg.errors import FeatureError
from megaseg.features.video.similarity import check_raw, rows_of

SPACE = "@"  # FILM@SPACE.npz holds the film in another feature space than FILM.npz
_WITHOUT = 0.15  # share of views without the visual features, and as many without colour
_UNTIMED = 0.15
_AUDIO, _DIALOGUE = 0.4, 0.3  # shares of views with made audio and dialogue
_SILENT = 0.4  # share of shots in which nobody speaks
_WIDTH = 24  # of made features
Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class Film:
    """A film: its labels (shots,) and raw features in each feature space, the one that it is measured in first."""

    labels: NDArray[np.uint8]
    spaces: tuple[Features, ...]


def films_of(movies: Mapping[str, Features]) -> dict[str, Film]:
    """Labelled raw features by film, from those by file name, ``FILM`` or ``FILM@SPACE``.

    Raises:
        FeatureError: a film's spaces with different labels, or features that are not raw; names the file.
    """
    films: dict[str, Film] = {}
    for name in sorted(movies, key=lambda own: (own.partition(SPACE)[0], SPACE in own, own)):
        movie, film = movies[name], name.partition(SPACE)[0]
        try:
            check_raw(movie)
        except FeatureError as error:
            raise FeatureError(f"{name}: {error}") from error
        if movie.labels is None:
            raise FeatureError(f"{name}: expected labels, got none")
        known = films.get(film, Film(movie.labels, ()))
        if not np.array_equal(known.labels, movie.labels):
            raise FeatureError(f"{name}: expected the labels of the film's other spaces, got others")
        films[film] = Film(known.labels, (*known.spaces, movie))
    return films


def views(film: Film, count: int, rng: Rng) -> list[Features]:
    """Rows of a film as it is, and of ``count`` views with modalities left out or added."""
    return [rows_of(film.spaces[0]), *(rows_of(_view(film, rng)) for _ in range(count))]


def _view(film: Film, rng: Rng) -> Features:
    spaces = film.spaces
    space = spaces[rng.integers(len(spaces))] if rng.random() < 0.5 else spaces[0]
    given = dict(space.modalities)
    left_out = rng.random()
    for name, least in (("visual", 0.0), ("colour", _WITHOUT)):
        if least <= left_out < least + _WITHOUT and set(given) > {name}:
            given.pop(name)
    if rng.random() < _AUDIO and "audio" not in given:
        given["audio"] = made(film.labels, rng)
    if rng.random() < _DIALOGUE and "dialogue" not in given:
        given["dialogue"] = made(film.labels, rng) * (rng.random((len(film.labels), 1)) >= _SILENT)
    times = None if rng.random() < _UNTIMED else space.times
    return Features(given, times, None if times is None else space.time_base, film.labels)


def made(labels: NDArray[np.uint8], rng: Rng) -> NDArray[np.float32]:
    """Features (shots, width) of sound or speech as it may be: a course of its own that some scenes share.

    It changes after a random part of the scenes, and elsewhere as often; in a third of the films it is noise, which a
    model must learn to leave alone.
    """
    shots, shared = len(labels), rng.uniform(0.1, 0.7)
    noise: NDArray[Any] = rng.standard_normal((shots, _WIDTH))
    if rng.random() < 1 / 3:
        return noise.astype(np.float32)
    changes = (labels > 0) & (rng.random(shots) < shared)
    changes |= rng.random(shots) < (1 - shared) * max(labels.mean(), 0.02)
    course = np.concatenate([[0], changes.cumsum()[:-1]])
    places = rng.standard_normal((int(course[-1]) + 1, _WIDTH))
    drift = rng.uniform(0, 0.2) * rng.standard_normal((shots, _WIDTH)).cumsum(0)
    rows: NDArray[Any] = places[course] + drift + rng.uniform(0.3, 2.0) * noise
    return rows.astype(np.float32)


def stacked(rows: Sequence[Features], name: str) -> NDArray[np.float32]:
    """Rows of one modality of several films' features, one after the other, each without the film's last shot."""
    return np.concatenate([own.modalities[name][:-1] for own in rows]).astype(np.float32)

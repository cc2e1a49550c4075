"""Movies for act training: features by scene, labelled synopses, and a teacher's silver distributions."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from megaseg.engine.inputs.arrays import read_members
from megaseg.engine.inputs.feature_files import load_features
from megaseg.engine.inputs.features import Features
from megaseg.errors import FeatureError
from megaseg.evaluation.act import COUNT
from megaseg.features.build import file_name
from megaseg.features.text.synopsis import Synopsis
from megaseg.features.text.words import BINS, hashed_words


@dataclass(frozen=True, slots=True)
class ActMovie:
    """One movie: ``scenes``, modality to (n, D_m); ``sentences`` (J, D); ``labels`` (J, 5), shares over sentences.

    ``aligned`` are other features of the same scenes, whose text is compared with sentences; None takes ``scenes``.
    ``words`` are the hashed words of scenes (n, bins) and sentences (J, bins), None where the features have none;
    ``silver`` (n, 5) is a teacher's distributions over scenes, None where there is none.
    """

    name: str
    scenes: Mapping[str, Tensor]
    sentences: Tensor
    labels: Tensor
    words: tuple[Tensor, Tensor] | None
    silver: Tensor | None
    aligned: Mapping[str, Tensor] | None = None

    @property
    def num_scenes(self) -> int:
        """Scenes n."""
        return len(next(iter(self.scenes.values())))


def read_silver(path: str | Path) -> dict[str, NDArray[np.float64]]:
    """A teacher's distributions: ``NAME|ANNOTATOR`` to (5, its scenes) in a .npz, averaged over annotators by movie.

    Raises:
        FeatureError: an unreadable file, or an array that is no distribution of five turning points.
    """
    parts: dict[str, list[NDArray[np.float64]]] = {}
    try:
        with Path(path).open("rb") as file:
            arrays = {key: np.asarray(array, np.float64) for key, array in read_members(file).items()}
    except (OSError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise FeatureError(f"{path}: expected a .npz of silver distributions, got: {error}") from error
    for key, array in arrays.items():
        if array.ndim != 2 or len(array) != COUNT or not np.allclose(array.sum(1), 1, atol=1e-3) or array.min() < 0:
            raise FeatureError(f"{path}: {key}: expected {COUNT} distributions over scenes, got {array.shape}")
        parts.setdefault(file_name(key.split("|")[0])[:-4], []).append(array)
    # Annotators' files may divide a movie differently: all are brought to the first one's scenes.
    return {name: np.mean([resample(a, own[0].shape[1]) for a in own], axis=0) for name, own in parts.items()}


def resample(rows: NDArray[np.float64], scenes: int) -> NDArray[np.float64]:
    """Distributions (5, k) over k equal parts of a movie as distributions (5, scenes) over ``scenes`` equal parts."""
    whole = np.concatenate([np.zeros((len(rows), 1)), np.cumsum(rows, axis=1)], axis=1)
    edges = np.linspace(0, rows.shape[1], scenes + 1)
    parts = np.stack([np.diff(np.interp(edges, np.arange(rows.shape[1] + 1), own)) for own in whole])
    return np.asarray(parts / parts.sum(1, keepdims=True))


def labels_of(synopsis: Synopsis) -> NDArray[np.float64]:
    """(sentences, 5): the share of annotators who chose each sentence."""
    labels = np.zeros((len(synopsis.sentences), COUNT))
    for points in synopsis.turning_points:
        labels[points, range(COUNT)] += 1 / len(synopsis.turning_points)
    return labels


def load_movies(
    folder: str | Path,
    synopses: Mapping[str, Synopsis],
    vectors: Mapping[str, NDArray[np.float32]],
    silver: Mapping[str, NDArray[np.float64]] | None = None,
    *,
    text: str | Path | None = None,
    least: int = 20,
) -> tuple[list[ActMovie], str | None, list[str]]:
    """Movies of a folder that have a synopsis and at least ``least`` scenes; their recipe; names of those left out.

    ``vectors`` are the sentences' (J, D) by movie. ``text`` is a folder of other features of the same scenes, whose
    text and words sentences are compared with: a model may read less of a movie than its training knows.

    Raises:
        FeatureError: no movie at all, features of different modalities or recipes, or vectors that do not fit.
    """
    folder = Path(folder)
    files = sorted(file for file in folder.glob("*.npz")) if folder.is_dir() else []
    movies, left_out, recipes, first = [], [], set(), None
    for file in files:
        features = load_features(file)
        if file.stem not in synopses or features.num_shots < least:
            left_out.append(file.stem)
            continue
        features.require_shots()
        widths = {name: array.shape[1] for name, array in features.modalities.items()}
        first = first or widths
        recipes.add(features.recipe)
        if widths != first or len(recipes) > 1:
            raise FeatureError(f"{file}: expected modalities {first} and one recipe, got {widths}, {features.recipe}")
        told = features if text is None else _told(Path(text) / file.name, features.num_shots)
        movies.append(_movie(file.stem, features, told, synopses[file.stem], vectors[file.stem], silver))
    if not movies:
        raise FeatureError(
            f"{folder}: expected feature files of movies that have a synopsis and {least} scenes, "
            f"found none such in {len(files)} files"
        )
    return movies, recipes.pop(), left_out


def _told(file: Path, scenes: int) -> Features:
    told = load_features(file)
    if told.num_shots != scenes:
        raise FeatureError(f"{file}: expected the {scenes} scenes of the movie's other features, got {told.num_shots}")
    return told


def _movie(
    name: str,
    features: Features,
    told: Features,
    synopsis: Synopsis,
    vectors: NDArray[np.float32],
    silver: Mapping[str, NDArray[np.float64]] | None,
) -> ActMovie:
    if len(vectors) != len(synopsis.sentences):
        raise FeatureError(f"{name}: expected {len(synopsis.sentences)} sentence vectors, got {len(vectors)}")
    own = None if silver is None or name not in silver else resample(silver[name], features.num_shots)
    words = None
    if told.words is not None:
        if told.words.shape[1] != BINS:
            raise FeatureError(f"{name}: words: expected {BINS} bins, got {told.words.shape[1]}")
        words = torch.from_numpy(told.words), torch.from_numpy(hashed_words(synopsis.sentences))
    return ActMovie(
        name,
        _tensors(features),
        torch.from_numpy(np.ascontiguousarray(vectors)),
        torch.from_numpy(labels_of(synopsis)).float(),
        words,
        None if own is None else torch.from_numpy(own.T.copy()).float(),
        None if told is features else _tensors(told),
    )


def _tensors(features: Features) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array.astype(np.float32)) for name, array in features.modalities.items()}


def joined(movies: Sequence[ActMovie]) -> dict[str, Tensor]:
    """All movies' rows, modality to (all scenes, D_m)."""
    return {name: torch.cat([movie.scenes[name] for movie in movies]) for name in movies[0].scenes}


def silver_gold(movies: Sequence[ActMovie]) -> dict[str, list[list[int]]]:
    """The arg-max scenes of the teacher's distributions in place of gold scenes, for the movies that have them."""
    return {m.name: [[int(m.silver[:, k].argmax())] for k in range(COUNT)] for m in movies if m.silver is not None}

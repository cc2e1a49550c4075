"""From a film, a screenplay or features to what an index keeps of it: its scenes, and a vector of each."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.engine import Engine
from megaseg.engine.inputs.features import Features
from megaseg.engine.model.checkpoint import ENCODER, Checkpoint
from megaseg.engine.results.segmentation import Segmentation
from megaseg.errors import FeatureError
from megaseg.features.extractor import Extractor, Reading, UnnamedUnits
from megaseg.features.recipe import RECIPES, recipe_for
from megaseg.features.video.similarity import prepared
from megaseg.media.thumbnails import Thumbnails
from megaseg.pipelines.embedding import encoder_sha256, require_embedding
from megaseg.pipelines.pipeline import Extractors, naming
from megaseg.pipelines.scenes import scene_vectors
from megaseg.pipelines.shipped import shipped_for
from megaseg.pipelines.sources import Source, open_source
from megaseg.search.writer import TitleScenes, table

Times = tuple[NDArray[np.int64] | None, Fraction | None]
RESULT = ".json"  # suffix of results that say where scenes end


@dataclass(frozen=True)
class Movie:
    """A movie as an encoder reads it, divided into scenes.

    ``shots`` (scenes, 2) are each scene's first and last shot, ``rows`` (scenes, 2) its first and last row of
    ``features``: the same, unless a row is a scene. ``times`` are those of the shots (shots, 2).
    """

    features: Features
    shots: NDArray[np.int64]
    rows: NDArray[np.int64]
    times: Times
    remarks: tuple[str, ...] = ()
    thumbnails: Thumbnails | None = None

    @property
    def num_shots(self) -> int:
        """Number of shots."""
        return int(self.shots[-1, 1]) + 1

    def rows_of(self, first: int, last: int) -> tuple[int, int]:
        """First and last row of features of the shots ``first`` to ``last``.

        Raises:
            FeatureError: shots that are not there.
        """
        if not 0 <= first <= last < self.num_shots:
            raise FeatureError(f"shots: expected from 0 to {self.num_shots - 1}, got {first} to {last}")
        if np.array_equal(self.rows, self.shots):
            return first, last
        touched = self.rows[(self.shots[:, 1] >= first) & (self.shots[:, 0] <= last)]
        return int(touched[0, 0]), int(touched[-1, 1])


@dataclass(frozen=True)
class Described:
    """A movie and the vectors (scenes, E), float32, of its scenes; ``found`` says how these were found."""

    movie: Movie
    vectors: NDArray[np.float32]
    found: str

    def kept(self) -> TitleScenes:
        """What an index keeps."""
        (ticks, base), shots = self.movie.times, self.movie.shots
        spans = None if ticks is None else np.stack([ticks[shots[:, 0], 0], ticks[shots[:, 1], 1]], axis=1)
        scenes, time_base = table(shots, spans), "" if base is None else str(base)
        return TitleScenes(self.vectors, scenes, self.movie.num_shots, time_base, self.found)


class Describer:
    """An encoder, and everything from a source to its scenes and their vectors. Made once.

    Args:
        encoder: engine of an encoder of shots.
        digest: ``encoder_sha256`` of it.
        scenes: a model that finds scenes, by its name; a result (.json) or a folder of results, each named by its
            title; None takes the scenes that a source names (labels of features, headings of a screenplay), else those
            of the model that ships for its kind.
        extractors: as of ``Pipeline``.
        options: of ``Engine.from_checkpoint``, for models of scenes.

    Raises:
        UnsupportedError: a model that gives no embedding of each shot.
    """

    def __init__(
        self,
        encoder: Engine,
        digest: str,
        *,
        scenes: str | os.PathLike[str] | Engine | None = None,
        extractors: Extractors | Iterable[Extractor] = (),
        **options: Any,
    ) -> None:
        require_embedding(encoder.config)
        self.engine, self.digest = encoder, digest
        self._scenes, self._options = scenes, options
        self._results = None if isinstance(scenes, Engine) else results_path(scenes)
        self._models: dict[str, Engine] = {}
        self._extractors = extractors if isinstance(extractors, Extractors) else Extractors(extractors)
        if scenes is not None and self._results is None:
            self._model(scenes)  # refused here, not by every title

    @classmethod
    def from_checkpoint(cls, checkpoint: str | os.PathLike[str] | Checkpoint, **options: Any) -> Describer:
        """Load an encoder; ``scenes`` and ``extractors`` as of the class, other options of ``Engine.from_checkpoint``.

        Raises:
            CheckpointError, UnsupportedError, ResourceLimitError: as ``Engine.from_checkpoint``.
        """
        own = {name: options.pop(name) for name in ("scenes", "extractors") if name in options}
        engine = Engine.from_checkpoint(checkpoint, **options)
        return cls(engine, encoder_sha256(checkpoint), **own, **options)

    def describe(self, source: Any, title: str = "") -> Described:
        """A movie's scenes and their vectors.

        Args:
            source: features, a feature file, a film, a screenplay or its file, as ``open_source`` takes them.
            title: by which its result is found, where results say where scenes end.

        Raises:
            FeatureError: a source that does not fit the encoder or the model of scenes, or a result of another movie;
                names the file or the screenplay.
            UnsupportedError: a missing extra.
        """
        with naming(source):
            own = self._opened(source)
            ends, found = self._ends(own, title)
            movie = self._movie(own, ends)
            return Described(movie, scene_vectors(self.engine, movie.features, movie.rows), found)

    def read(self, source: Any, ends: NDArray[np.int64]) -> Movie:
        """A movie whose scenes end with the shots ``ends``.

        Raises:
            FeatureError: a movie of other shots; otherwise as ``describe``.
        """
        with naming(source):
            return self._movie(self._opened(source), ends)

    def vector(self, movie: Movie, first: int, last: int) -> NDArray[np.float32]:
        """The vector (E,) of the shots ``first`` to ``last`` of a movie as a scene of its own.

        Raises:
            FeatureError: shots that are not there.
        """
        own = np.array([movie.rows_of(first, last)], np.int64)
        found: NDArray[np.float32] = scene_vectors(self.engine, movie.features, own)[0]
        return found

    def _opened(self, source: Any) -> _OfFeatures | _OfSource:
        opened = open_source(source)
        return _OfFeatures(opened) if isinstance(opened, Features) else _OfSource(opened, self._extractors)

    def _movie(self, own: _OfFeatures | _OfSource, ends: NDArray[np.int64]) -> Movie:
        features = own.features(self.engine, ends)
        shots = np.stack([np.append(0, ends[:-1] + 1), ends], axis=1)
        rows = np.repeat(np.arange(len(ends))[:, None], 2, axis=1) if _units(features) else shots
        if features.num_shots != rows[-1, 1] + 1:
            raise FeatureError(f"scenes: expected scenes of {features.num_shots} shots, got some of {rows[-1, 1] + 1}")
        absent = self.engine.absent(features)
        told = [f"{', '.join(absent)}: not there, read as zeros"] if absent else []
        return Movie(features, shots, rows, own.times(), (*own.remarks, *told), own.thumbnails)

    def _ends(self, own: _OfFeatures | _OfSource, title: str) -> tuple[NDArray[np.int64], str]:
        """Last shot (scenes,) of each scene, and how it was found."""
        if self._results is not None:
            return _ends_of_result(self._results, title)
        if self._scenes is None:
            named = own.named_ends()
            if named is not None:
                return named, "labels"
        chosen = own.shipped if self._scenes is None else self._scenes
        engine = self._model(chosen)
        try:
            result = engine.segment(own.features(engine, None))
        except FeatureError as error:
            if self._scenes is not None:
                raise
            hint = f"scenes: {chosen} does not find them; labels, results or a model of scenes do"
            raise type(error)(f"{error}; {hint}") from error
        return np.array([scene.last_shot for scene in result.scenes], np.int64), _name(chosen)

    def _model(self, chosen: str | os.PathLike[str] | Engine) -> Engine:
        """A model of scenes.

        Raises:
            FeatureError: one that finds no scenes.
        """
        if isinstance(chosen, Engine):
            return chosen
        name = os.fspath(chosen)
        if name not in self._models:
            engine = Engine.from_checkpoint(name, **self._options)
            if engine.config.task != "scene":
                raise FeatureError(
                    f"scenes: expected a model of scenes, or results, got one of task {engine.config.task}"
                )
            self._models[name] = engine
        return self._models[name]


class _OfFeatures:
    """Features as a source of scenes."""

    remarks: tuple[str, ...] = ()
    thumbnails = None

    def __init__(self, features: Features) -> None:
        self._features, self.shipped = features, shipped_for(features)[0]

    def features(self, engine: Engine, ends: NDArray[np.int64] | None) -> Features:
        """What a model reads."""
        return prepared(self._features, engine.config.recipe)

    def named_ends(self) -> NDArray[np.int64] | None:
        """Last shot of each scene that labels say; of features whose rows are scenes, each row."""
        if _units(self._features):
            return np.arange(self._features.num_shots, dtype=np.int64)
        labels = self._features.labels
        if labels is None:
            return None
        return np.flatnonzero(np.append(labels[:-1] > 0, True)).astype(np.int64)

    def times(self) -> Times:
        """Times of the shots."""
        return self._features.times, self._features.time_base


class _OfSource:
    """A film or a screenplay as a source of scenes."""

    def __init__(self, source: Source, extractors: Extractors) -> None:
        self._source = source
        self._reading: Reading = extractors.read(source)
        self.shipped = shipped_for(source)[0]

    @property
    def remarks(self) -> tuple[str, ...]:
        """How the source was read, where a user should know."""
        return tuple(self._reading.remarks)

    @property
    def thumbnails(self) -> Thumbnails | None:
        """A film's pictures."""
        return self._reading.thumbnails

    def features(self, engine: Engine, ends: NDArray[np.int64] | None) -> Features:
        """What a model reads; one whose rows are scenes reads those that end with the shots ``ends``."""
        recipe = recipe_for(self._source, engine.config.recipe)
        return self._reading.features(recipe.name, None if recipe.units is None else ends)

    def named_ends(self) -> NDArray[np.int64] | None:
        """Last shot of each scene that the source names."""
        try:
            return self._reading.named_ends()
        except UnnamedUnits:
            return None

    def times(self) -> Times:
        """Times of the shots."""
        return self._reading.times()


def _units(features: Features) -> bool:
    """Whether a row of features is a scene."""
    recipe = RECIPES.get(features.recipe or "")
    return recipe is not None and recipe.units == "scenes"


def _name(chosen: str | os.PathLike[str] | Engine) -> str:
    return "model" if isinstance(chosen, Engine) else Path(chosen).stem


def results_path(scenes: str | os.PathLike[str] | None) -> Path | None:
    """The result or the folder of results that ``scenes`` names; None where it names a model, or nothing."""
    path = None if scenes is None else Path(scenes)
    if path is not None and (path.suffix.lower() == RESULT or (path.is_dir() and not (path / ENCODER).is_file())):
        return path
    return None


def result_file(results: Path, title: str) -> Path:
    """The result of a title: the file itself, or that of its name in a folder."""
    return results / f"{title}{RESULT}" if results.is_dir() else results


def _ends_of_result(results: Path, title: str) -> tuple[NDArray[np.int64], str]:
    """Last shot (scenes,) of each scene of a title's result.

    Raises:
        FeatureError: no result, or one without scenes; names the file.
    """
    path = result_file(results, title)
    try:
        result = Segmentation.from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FeatureError(f"scenes: expected the result of {title!r:.80} as {path}, got: {error.strerror}") from error
    except (UnicodeDecodeError, FeatureError) as error:
        raise FeatureError(f"scenes: {path}: expected a result: {error}") from error
    if not result.scenes:
        raise FeatureError(f"scenes: {path}: expected a result with scenes, got {', '.join(result.tracks)}")
    return np.array([scene.last_shot for scene in result.scenes], np.int64), "results"

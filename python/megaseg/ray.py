"""``Segmenter``, ``Embedder`` and ``SceneEmbedder``, for ``map_batches`` of Ray Data: one engine an actor."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from megaseg.catalog.storage import read_source
from megaseg.engine.backends.protocol import EMBEDDING
from megaseg.engine.inputs.feature_files import feature_bytes
from megaseg.engine.inputs.features import RESERVED, Features
from megaseg.engine.inputs.tokens import SUFFIX
from megaseg.engine.model.config import ModelConfig
from megaseg.engine.model.family import width_of
from megaseg.engine.results.segmentation import Segmentation
from megaseg.errors import FeatureError
from megaseg.features.screenplay.files import parse_screenplay
from megaseg.features.screenplay.screenplay import Screenplay
from megaseg.features.video.extractor import VideoExtractor
from megaseg.pipelines import embedding
from megaseg.pipelines.pipeline import Pipeline
from megaseg.pipelines.sources import Source
from megaseg.report.text import visible
from megaseg.search.describing import Describer

_log = logging.getLogger(__name__)
Movie = Features | Source | Exception  # of a title, or why it has none
READERS = 8  # files of one batch that are read at once: storage answers late, and decompression lets others run


class _Titles:
    """The movies of batches of titles, from files, text or arrays."""

    def __init__(self, column: str, text_column: str, configs: Sequence[ModelConfig]) -> None:
        self._column, self._text_column = column, text_column
        modalities = {modality.name for config in configs for modality in config.modalities}
        self._features = modalities | {name + SUFFIX for name in modalities} | set(RESERVED)

    def movies(self, batch: Mapping[str, Any]) -> tuple[dict[str, Any], list[Movie]]:
        """The columns that are neither text nor features, and the movie of each row, or why there is none.

        Raises:
            FeatureError: a batch without a column of movies.
        """
        sources = {self._text_column, *self._features}
        others = {name: column for name, column in batch.items() if name not in sources}
        if self._column not in batch and len(others) == len(batch):
            raise FeatureError(
                f"batch: expected a column {self._column!r} of files, {self._text_column!r} of text, or one a modality "
                f"of arrays, got {list(batch)}"
            )
        rows = range(len(next(iter(batch.values()))))
        with ThreadPoolExecutor(READERS) as readers:
            return others, list(readers.map(lambda row: _attempt(partial(self._read, batch, row)), rows))

    def _read(self, batch: Mapping[str, Any], row: int) -> Features | Source:
        """The movie of a row; what a user should hear of how a screenplay was read is logged."""
        source = self._open(batch, row)
        for remark in source.remarks if isinstance(source, Screenplay) else ():
            _log.warning("%s", visible(remark))
        return source

    def _open(self, batch: Mapping[str, Any], row: int) -> Features | Source:
        if self._column in batch:
            return read_source(os.fspath(batch[self._column][row]))
        if self._text_column in batch:
            return parse_screenplay(batch[self._text_column][row], self._text_column)
        values = {name: batch[name][row] for name in self._features if name in batch}
        return Features.from_mapping({name: value for name, value in values.items() if value is not None})


class Segmenter(_Titles):
    """Segments batches of titles: one pipeline for each actor of ``map_batches``.

    >>> titles = ray.data.read_parquet("titles.parquet")
    >>> options = {"checkpoint": "screenplay-scenes", "compute_type": "float32"}
    >>> actors = ray.data.ActorPoolStrategy(size=8)
    >>> results = titles.map_batches(Segmenter, fn_constructor_kwargs=options, compute=actors, batch_size=16)

    Rows in: a column ``path`` of feature files and screenplays (paths or URLs), a column ``screenplay`` of their text,
    or one column a modality of arrays (shots, width), with ``times`` and the other keys of feature files as wanted.
    Rows out: the columns that are neither text nor features, and ``result`` (JSON text of
    ``engine/results/result.schema.json``) or ``error`` (why there is none), the other being empty. A title that cannot
    be segmented never ends its batch.
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike[str] | Sequence[str],
        *,
        column: str = "path",
        text_column: str = "screenplay",
        decision: Mapping[str, Any] | None = None,
        num_threads: int | None = None,
        **options: Any,
    ) -> None:
        """Load the checkpoints; ``options`` are those of ``Pipeline.from_checkpoints``, ``decision`` of ``segment``.

        A checkpoint is compiled once a node and then mapped, so that actors share its pages. ``num_threads``: None
        takes as many as the actor has CPUs, outside Ray every core.

        Raises:
            CheckpointError, UnsupportedError, ResourceLimitError, FeatureError: as ``Pipeline.from_checkpoints``.
        """
        names = [checkpoint] if isinstance(checkpoint, (str, os.PathLike)) else list(checkpoint)
        threads = _own_cpus() if num_threads is None else num_threads
        self._pipeline = Pipeline.from_checkpoints(names, num_threads=threads, **options)
        super().__init__(column, text_column, [engine.config for engine in self._pipeline.engines])
        self._decision = dict(decision or {})
        self._pipeline.options(self._decision)  # refused here, not by every title

    def describe(self) -> list[dict[str, Any]]:
        """``Engine.describe`` of each engine, with its model's ``recipe``."""
        return [{**engine.describe(), "recipe": engine.config.recipe} for engine in self._pipeline.engines]

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Columns of equal length in, columns out."""
        others, movies = self.movies(batch)
        results = self._segment(movies)
        texts = [None if isinstance(result, Exception) else result.to_json() for result in results]
        errors = [_reason(result) if isinstance(result, Exception) else None for result in results]
        return {**others, "result": np.array(texts, object), "error": np.array(errors, object)}

    def _segment(self, movies: list[Movie]) -> list[Segmentation | Exception]:
        """A result or a reason for each; features run together, other sources one by one."""
        features = [movie for movie in movies if isinstance(movie, Features)]
        found = _attempt(partial(self._pipeline.segment_many, features, **self._decision)) if features else []
        if isinstance(found, Exception):  # of one title; each alone says which
            found = [self._alone(movie) for movie in features]
        rest = iter(found)
        return [
            next(rest) if isinstance(movie, Features) else movie if isinstance(movie, Exception) else self._alone(movie)
            for movie in movies
        ]

    def _alone(self, movie: Features | Source) -> Segmentation | Exception:
        found: Segmentation | Exception = _attempt(partial(self._pipeline.segment, movie, **self._decision))
        return found


class Embedder(_Titles):
    """Embeds batches of titles: one encoder of shots for each actor of ``map_batches``.

    Rows in: as of ``Segmenter``. Rows out: the columns that are neither text nor features, and ``result`` (the bytes of
    a feature file as ``megaseg embed`` writes it, for ``read_features``) or ``error``, the other being empty.
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike[str],
        *,
        column: str = "path",
        text_column: str = "screenplay",
        num_threads: int | None = None,
        **options: Any,
    ) -> None:
        """Load the encoder; ``options`` are those of ``pipelines.embedding.Embedder``, threads as of ``Segmenter``.

        Raises:
            CheckpointError, UnsupportedError, ResourceLimitError: as ``pipelines.embedding.Embedder``.
        """
        threads = _own_cpus() if num_threads is None else num_threads
        self._embedder = embedding.Embedder(checkpoint, num_threads=threads, **options)
        super().__init__(column, text_column, [self._embedder.engine.config])

    def describe(self) -> list[dict[str, Any]]:
        """``Engine.describe`` of the encoder, with its model's ``recipe``."""
        engine = self._embedder.engine
        return [{**engine.describe(), "recipe": engine.config.recipe}]

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Columns of equal length in, columns out."""
        others, movies = self.movies(batch)
        results = [movie if isinstance(movie, Exception) else _attempt(partial(self._file, movie)) for movie in movies]
        files = [None if isinstance(result, Exception) else result for result in results]
        errors = [_reason(result) if isinstance(result, Exception) else None for result in results]
        return {**others, "result": np.array(files, object), "error": np.array(errors, object)}

    def _file(self, movie: Features | Source) -> bytes:
        made = self._embedder.embed(movie)
        for remark in made.remarks:
            _log.warning("%s", visible(remark))
        return feature_bytes(made.features)


class SceneEmbedder(_Titles):
    """Finds the scenes of batches of titles and embeds them, for an index: one encoder for each actor.

    Rows in: as of ``Segmenter``, and ``title`` where results say where scenes end. Rows out: the columns that are
    neither text nor features, and ``result`` (bytes of ``search.writer.TitleScenes``) or ``error``.
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike[str],
        *,
        scenes: str | None = None,
        detector: str = "adaptive",
        speech: str | os.PathLike[str] | None = None,
        column: str = "path",
        text_column: str = "screenplay",
        num_threads: int | None = None,
        **options: Any,
    ) -> None:
        """Load the encoder; ``scenes`` as of ``search.describing.Describer``, options of ``Engine.from_checkpoint``.

        ``detector`` and ``speech`` are those of ``VideoExtractor``.

        Raises:
            CheckpointError, UnsupportedError, ResourceLimitError, FeatureError: as these do.
        """
        threads = _own_cpus() if num_threads is None else num_threads
        films = VideoExtractor(detector=detector, speech=speech, num_threads=threads)
        given = {"scenes": scenes, "extractors": [films], "num_threads": threads, **options}
        self._describer = Describer.from_checkpoint(checkpoint, **given)
        super().__init__(column, text_column, [self._describer.engine.config])

    def describe(self) -> list[dict[str, Any]]:
        """``Engine.describe`` of the encoder, with its model's ``recipe``, its digest and the width of its vectors."""
        engine = self._describer.engine
        width = width_of(engine.config, EMBEDDING)
        own = {"recipe": engine.config.recipe, "encoder": self._describer.digest, "width": width}
        return [{**engine.describe(), **own}]

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Columns of equal length in, columns out."""
        others, movies = self.movies(batch)
        names = batch.get("title", [""] * len(movies))
        results = [
            movie if isinstance(movie, Exception) else _attempt(partial(self._scenes, movie, str(name)))
            for movie, name in zip(movies, names, strict=True)
        ]
        files = [None if isinstance(result, Exception) else result for result in results]
        errors = [_reason(result) if isinstance(result, Exception) else None for result in results]
        return {**others, "result": np.array(files, object), "error": np.array(errors, object)}

    def _scenes(self, movie: Features | Source, title: str) -> bytes:
        made = self._describer.describe(movie, title)
        for remark in made.movie.remarks:
            _log.warning("%s", visible(f"{title}: {remark}" if title else remark))
        return made.kept().to_bytes()


def _attempt(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except Exception as error:  # noqa: BLE001 (one bad title must not stop the catalogue)
        return error


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, FeatureError) else f"{type(error).__name__}: {error}"


def _own_cpus() -> int:
    """CPUs that Ray gives this actor, at least one; 0 outside an actor."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized() or ray.get_runtime_context().get_actor_id() is None:
        return 0
    return max(1, int(ray.get_runtime_context().get_assigned_resources().get("CPU", 1)))

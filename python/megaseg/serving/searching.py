"""The index of a service: scenes like one of a title of it, or of a movie that a request brings."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from megaseg.engine.engine import Engine
from megaseg.engine.inputs.features import Features
from megaseg.errors import SearchIndexError, UnsupportedError
from megaseg.features.screenplay.screenplay import Screenplay
from megaseg.media.video import Video
from megaseg.pipelines.embedding import encoder_sha256
from megaseg.search.describing import Described, Describer
from megaseg.search.index import Hit, SceneIndex
from megaseg.search.query import Part, Query, of_movie, of_title
from megaseg.serving.extraction import Extraction
from megaseg.serving.logs import log
from megaseg.serving.models import Models

if TYPE_CHECKING:
    from megaseg.serving.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for: a part of a title, or of a movie of its own; ``scenes`` is a model that divides that."""

    part: Part
    title: str | None = None
    source: Features | Screenplay | Video | None = None
    scenes: Engine | None = None
    count: int = 10
    same_film: bool = False
    timeout: float | None = None


class Searching:
    """An index that is open, and opened anew where a writer has replaced it; its methods run on the event loop.

    Raises:
        SearchIndexError: no index, or a damaged one. UnsupportedError: the extra ``search`` is missing.
    """

    def __init__(self, folder: Path, checkpoints: Mapping[str, str], metrics: Metrics) -> None:
        """``checkpoints`` are those of the service, by model name."""
        self._checkpoints, self._metrics = checkpoints, metrics
        self._index = SceneIndex.open(folder)
        self._failure = ""  # why the index could not be opened anew, once it has been logged
        self._opening = asyncio.Lock()
        self._digests: dict[str, tuple[Engine, str]] = {}  # of encoders, with the engine that each is of
        metrics.watch_index(lambda: self._index.manifest)

    async def find(self, asked: Asked, models: Models, extraction: Extraction) -> dict[str, Any]:
        """The query and its results, as values of JSON.

        Raises:
            FeatureError: an unknown title, a part that is not there, or a movie that the encoder does not take.
            UnsupportedError: a movie, and no model of the service that is the index's encoder.
            OverloadedError, DeadlineExceeded: as ``Extraction.run``.
        """
        async with self._opening:
            self._index = index = await asyncio.to_thread(self._current)
        query, own = await self._query(index, asked, models, extraction)
        begin = time.perf_counter()
        without = None if asked.same_film else own
        hits = await asyncio.to_thread(index.nearest, query.vector, asked.count, without=without)
        self._metrics.searched(time.perf_counter() - begin)
        return {"query": query.to_dict(), "results": [_result(hit) for hit in hits]}

    def _current(self) -> SceneIndex:
        """The index as its writer left it; where that cannot be opened, the one that is open, and a line in the log."""
        try:
            index = self._index.current()
        except (SearchIndexError, OSError) as error:
            if str(error) != self._failure:
                log("index not opened", logging.WARNING, error=str(error))
            self._failure = str(error)
            return self._index
        self._failure = ""
        return index

    async def _query(
        self, index: SceneIndex, asked: Asked, models: Models, extraction: Extraction
    ) -> tuple[Query, str | None]:
        """What is searched with, and the title that it is."""
        if asked.title is not None:
            return of_title(index, asked.title, asked.part), asked.title
        engine = await asyncio.to_thread(self._encoder, index, models)
        describer = Describer(engine, index.manifest.encoder, scenes=asked.scenes, extractors=extraction.extractors)
        name = getattr(asked.source, "name", "body")

        def work(_: int) -> tuple[Described, Query]:
            described = describer.describe(asked.source)
            return described, of_movie(describer, name, described, asked.part)

        film = isinstance(asked.source, Video)
        _, query = await extraction.run(work, 0, timeout=asked.timeout, film=film)
        return query, name if film and name in index.manifest.titles else None

    def _encoder(self, index: SceneIndex, models: Models) -> Engine:
        """The engine of the index's encoder among the loaded models.

        Raises:
            UnsupportedError: there is none.
        """
        for model in models.loaded():
            if not model.embeds:
                continue
            known = self._digests.get(model.name)
            if known is None or known[0] is not model.engine:
                known = (model.engine, encoder_sha256(self._checkpoints[model.name]))
                self._digests[model.name] = known
            if known[1] == index.manifest.encoder:
                return model.engine
        raise UnsupportedError(
            "similar: expected a title of the index: no model of this service is the encoder that the index is of"
        )


def _result(hit: Hit) -> dict[str, Any]:
    """A result without the path of its film, which is no client's business."""
    return {name: value for name, value in hit.to_dict().items() if name != "source"}

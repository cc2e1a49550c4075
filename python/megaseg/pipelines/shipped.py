"""Pipelines by the kind of source: of the checkpoints given, else of those that ship for such sources."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from megaseg.engine.inputs.features import Features
from megaseg.engine.results.segmentation import Segmentation
from megaseg.errors import FeatureError
from megaseg.features.extractor import Extractor
from megaseg.features.video.similarity import is_raw
from megaseg.media.video import Video
from megaseg.pipelines.pipeline import Pipeline, naming
from megaseg.pipelines.sources import FEATURE_FILES, VIDEOS, FeatureFile, Source, open_source

SCREENPLAY = ("screenplay-scenes",)
SHOTS = ("video-scenes",)
FILM = ("video-scenes", "video-acts")  # acts where there is dialogue


def shipped_for(opened: Features | Source) -> tuple[str, ...]:
    """Names of the shipped checkpoints that read a source."""
    if isinstance(opened, Video):
        return FILM
    return SHOTS if isinstance(opened, Features) and is_raw(opened) else SCREENPLAY


def shipped_for_paths(paths: Iterable[str]) -> tuple[str, ...]:
    """Names of the shipped checkpoints that read files together, by their suffixes; feature files are taken as any's.

    Raises:
        FeatureError: films among other movies.
    """
    others = [path for path in paths if not path.lower().endswith(FEATURE_FILES)]
    films = sum(path.lower().endswith(VIDEOS) for path in others)
    if 0 < films < len(others):
        raise FeatureError(
            f"checkpoints: expected films or screenplays, got {films} and {len(others) - films}; run each by themselves"
        )
    return FILM if films else SCREENPLAY


class Pipelines:
    """Pipelines for sources of any kind, each made when the first source needs it.

    Args:
        checkpoints: of every source; none takes those that ship for its kind, and leaves out those that it gives
            nothing to.
        extractors: as of ``Pipeline``.
        options: those of ``Engine.from_checkpoint``.
    """

    def __init__(
        self,
        checkpoints: Sequence[str | os.PathLike[str]] | None = None,
        *,
        extractors: Iterable[Extractor] = (),
        **options: Any,
    ) -> None:
        self._given = tuple(checkpoints or ())
        self._extractors, self._options = tuple(extractors), options
        self._made: dict[tuple[str | os.PathLike[str], ...], Pipeline] = {}

    def of(self, opened: Features | Source) -> Pipeline:
        """The pipeline of a source as ``open_source`` gives it.

        Raises:
            CheckpointError, UnsupportedError, ResourceLimitError, FeatureError: as ``Pipeline.from_checkpoints``.
        """
        return self._pipeline(self._given or shipped_for(opened))

    def _pipeline(self, names: tuple[str | os.PathLike[str], ...]) -> Pipeline:
        if names not in self._made:
            self._made[names] = Pipeline.from_checkpoints(
                names, extractors=self._extractors, skip_missing=not self._given, **self._options
            )
        return self._made[names]

    def check(self, sources: Iterable[Source], decision: Mapping[str, Any]) -> None:
        """Check options of ``segment`` before any work, and load the models that the sources surely need.

        Raises:
            FeatureError: an option that no model takes, or a value that no movie allows.
            CheckpointError, UnsupportedError, ResourceLimitError: as ``of``.
        """
        opened = [source for source in sources if not isinstance(source, FeatureFile)]
        names = [self._given] if self._given else dict.fromkeys(map(shipped_for, opened))
        for own in names:
            self._pipeline(own).options(decision)

    def opened(self, source: Any) -> tuple[Pipeline, Features | Source]:
        """The pipeline of a source, and the source as ``open_source`` gives it.

        Raises:
            FeatureError: a source that cannot be read. As ``of``.
        """
        opened = open_source(source)
        return self.of(opened), opened

    def segment(self, source: Any, *, keep: Segmentation | None = None, **decision: Any) -> Segmentation:
        """``Pipeline.segment`` by the source's own pipeline.

        Raises:
            CheckpointError, UnsupportedError, ResourceLimitError, FeatureError: as ``of`` and ``Pipeline.segment``.
        """
        with naming(source):
            pipeline, opened = self.opened(source)
            return pipeline.segment(opened, keep=keep, **decision)


def segment(
    source: Any,
    checkpoints: Sequence[str | os.PathLike[str]] | None = None,
    *,
    extractors: Iterable[Extractor] = (),
    keep: Segmentation | None = None,
    **decision: Any,
) -> Segmentation:
    """Scenes, and acts where there is dialogue, of a film; likewise of a screenplay or of features.

    >>> result = megaseg.segment("film.mp4")
    >>> [(result.seconds(scene.start_ticks), scene.score) for scene in result.scenes]

    For many sources make one ``Pipelines``, which loads its models once.

    Args:
        source: path of a film, a screenplay or a feature file, or what ``open_source`` takes.
        checkpoints: names or paths; None takes those that ship for the kind of source.
        extractors: as of ``Pipeline``, such as ``VideoExtractor(detector="transnetv2")``.
        keep: an earlier result that a person has edited, as of ``Pipeline.segment``.
        decision: keywords of ``Engine.segment``.

    Raises:
        FeatureError: a source that cannot be read; names it.
        CheckpointError, UnsupportedError, ResourceLimitError: as ``Engine.from_checkpoint``.
    """
    return Pipelines(checkpoints, extractors=extractors).segment(source, keep=keep, **decision)

"""Streams of raw shots: the rows of a scene model are made as shots come, in front of the engine's stream."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from megaseg.engine.engine import Engine
from megaseg.engine.inputs.feature_files import FeatureSource, as_features
from megaseg.engine.inputs.features import Features
from megaseg.engine.live.stream import Event, Stream
from megaseg.engine.results.segmentation import Segmentation
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.features.video.similarity import RECIPE, ShotRows


class RawStream:
    """A film whose raw shots come one by one; decisions equal ``Engine.segment``'s on ``rows_of`` the whole film.

    A shot is decided when ``HALF`` + 1 shots have come after it: the engine keeps back the last one that it has.

    Args:
        engine: of a scene model of recipe ``video-shots/1``.
        threshold, history: as of ``Engine.stream``.
        time_base: seconds of a tick of the times that are pushed.

    Raises:
        UnsupportedError: a model of another recipe, or as ``Engine.stream``.
        FeatureError: as ``Engine.stream``.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        threshold: float | None = None,
        time_base: Fraction | str | None = None,
        history: bool = True,
    ) -> None:
        if engine.config.recipe != RECIPE:
            raise UnsupportedError(f"stream: expected a model of recipe {RECIPE}, got {engine.config.recipe}")
        self._time_base = time_base
        self._stream: Stream = engine.stream(threshold=threshold, time_base=time_base, history=history)
        self._rows, self._closed = ShotRows(), False

    def push(self, features: FeatureSource) -> tuple[Event, ...]:
        """The film's next raw shots, one or more; gives the decisions that have become possible, in order.

        Raises:
            FeatureError: as ``ShotRows.push``, or the stream is closed; it is as before.
        """
        if self._closed:
            raise FeatureError("push: the stream is closed")
        if isinstance(features, Mapping) and "times" in features and self._time_base is not None:
            features = {"time_base": self._time_base, **features}
        return self._decided(self._rows.push(as_features(features)))

    def close(self) -> tuple[Event, ...]:
        """The film ends here: decisions on its last shots. Closing again gives none."""
        self._closed = True
        return (*self._decided(self._rows.finish()), *self._stream.close())

    def segmentation(self) -> Segmentation:
        """Scenes of the shots decided so far.

        Raises:
            FeatureError: no shot is decided yet, or the stream was made without ``history``.
        """
        return self._stream.segmentation()

    def _decided(self, rows: Features | None) -> tuple[Event, ...]:
        return () if rows is None else self._stream.push(rows)

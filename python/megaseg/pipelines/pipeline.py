"""``Pipeline``: models made ready once, and the way of each movie through them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.backends.native.extension import COMPUTE_TYPES
from megaseg.engine.engine import Engine
from megaseg.engine.inputs.feature_files import FeatureSource, as_features
from megaseg.engine.inputs.features import Features, TooManyShots
from megaseg.engine.model.config import ModelConfig
from megaseg.engine.results.edits import locked_seconds, with_edits
from megaseg.engine.results.segmentation import Segmentation, joined, on_shots
from megaseg.engine.tasks.task import deciding_task
from megaseg.engine.tasks.together import check_together, options_for_each
from megaseg.errors import FeatureError
from megaseg.features.extractor import Extractor, MissingInput, Reading, UnnamedUnits
from megaseg.features.recipe import recipe_for
from megaseg.features.screenplay.screenplay import Screenplay
from megaseg.features.video.similarity import prepared
from megaseg.media.thumbnails import Thumbnails
from megaseg.pipelines.explained import Explained, Explaining
from megaseg.pipelines.keeping import check_edits, edited
from megaseg.pipelines.sources import Source, location, open_source

Run = Callable[[Engine, Features, Mapping[str, Any]], Segmentation]
"""Runs a model over features with its own options."""


class Extractors:
    """Extractors by the kind of source that they read, each made when the first such source comes."""

    def __init__(self, given: Iterable[Extractor] = (), *, compute_type: str = "auto", num_threads: int = 0) -> None:
        """``given`` take the place of those that the table of recipes would make, whose models the rest is for."""
        self._options: dict[str, Any] = {"compute_type": compute_type, "num_threads": num_threads}
        self._made: dict[type[Any], Extractor] = {extractor.reads: extractor for extractor in given}

    def read(self, source: Source) -> Reading:
        """A source as its extractor reads it; nothing is computed yet.

        Raises:
            FeatureError: no extractor reads such a source.
        """
        kind = recipe_for(source, None).extractor
        if kind.reads not in self._made:
            self._made[kind.reads] = kind(**self._options)
        return self._made[kind.reads].read(source)


class Passage:
    """One source on its way through the models: which model is next, what that reads, and what was found.

    Its shots end at the boundaries that are locked in ``keep``, an edited result, where it has times.

    A model whose rows are longer than a shot, such as an act model of scenes, comes after the one that finds them; its
    rows are the segments found, else those that the source names.

    Raises:
        FeatureError: a model whose recipe no extractor makes of such a source.
    """

    def __init__(
        self, configs: Sequence[ModelConfig], source: Source, extractors: Extractors, keep: Segmentation | None = None
    ) -> None:
        self._reading = extractors.read(source)
        if keep is not None:
            self._reading.end_shots_at(locked_seconds(keep))
        self._recipes = [recipe_for(source, config.recipe) for config in configs]
        self._ends: list[NDArray[np.int64] | None] = [None] * len(configs)
        self._found: list[Segmentation] = []
        self._left_out: list[str] = []
        self._name, self._tasks = source.name, [config.task for config in configs]
        self.order: list[int] = sorted(range(len(configs)), key=lambda model: self._recipes[model].units is not None)

    def features(self, model: int) -> Features:
        """Features that the model of this number reads; those before it in ``order`` have been added.

        Raises:
            FeatureError: a model of longer units, which no other model has found and the source does not name.
            MissingInput: the source lacks what the model reads.
            UnsupportedError: a missing extra.
        """
        recipe = self._recipes[model]
        if recipe.units is not None:
            self._ends[model] = self._unit_ends(recipe.units)
        return self._reading.features(recipe.name, self._ends[model])

    def add(self, model: int, result: Segmentation) -> None:
        """Take the result of a model, over the features that it was given."""
        ends = self._ends[model]
        self._found.append(result if ends is None else on_shots(result, ends, *self._reading.times()))

    def leave_out(self, model: int, error: MissingInput | TooManyShots) -> None:
        """Go on without a model that the source gives nothing or too much to; the result's remarks say why."""
        reason = str(error)
        if isinstance(error, TooManyShots):  # which knows neither the source nor what a row is
            rows = reason.removeprefix("features: ").replace("shots", self._recipes[model].units or "shots")
            track = deciding_task(self._tasks[model], "segment").track
            reason = f"{self._name}: no {track}: {rows}"
        self._left_out.append(reason)

    def result(self) -> Segmentation:
        """The result of all models together."""
        found = joined(self._found)
        remarks = (*self._reading.remarks, *found.remarks, *self._left_out)
        return dataclasses.replace(found, remarks=remarks, source=self._reading.source())

    @property
    def thumbnails(self) -> Thumbnails | None:
        """Small pictures of the source; None where it has none."""
        return self._reading.thumbnails

    def _unit_ends(self, units: str) -> NDArray[np.int64]:
        """Last shot (units,) of each segment of a track that was found, else of those that the source names."""
        for result in self._found:
            if units in result.tracks:
                return np.array([segment.last_shot for segment in result.tracks[units].segments])
        try:
            return self._reading.named_ends()
        except UnnamedUnits as error:
            raise UnnamedUnits(f"{error}; a model that finds {units} as well supplies them") from error


class Pipeline:
    """Models, one for each task, and everything from a source to their result. Made once.

    Args:
        engines: of the models.
        extractors: to use in place of those of ``features.RECIPES``, such as one with models of its own.
        compute_type, num_threads: of the models of each extractor that is made, which run on the CPU.
        skip_missing: a model that a source gives nothing to, such as an act model for a film without dialogue, or more
            scenes than it takes, is left out with a remark in the result; False makes that an error, as it always is
            where nothing is left.

    Raises:
        FeatureError: no models, or models that do not go together.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        *,
        extractors: Iterable[Extractor] = (),
        compute_type: str = "auto",
        num_threads: int = 0,
        skip_missing: bool = False,
    ) -> None:
        self.engines = tuple(engines)
        self._configs = [engine.config for engine in self.engines]
        check_together(self._configs, [f"model {number}" for number in range(1, len(self.engines) + 1)])
        self._extractors = Extractors(extractors, compute_type=compute_type, num_threads=num_threads)
        self._skip_missing = skip_missing

    @classmethod
    def from_checkpoints(
        cls,
        checkpoints: Sequence[str | os.PathLike[str]],
        *,
        extractors: Iterable[Extractor] = (),
        skip_missing: bool = False,
        **options: Any,
    ) -> Pipeline:
        """Load each checkpoint with the same ``options``, those of ``Engine.from_checkpoint``.

        Raises:
            CheckpointError, UnsupportedError, ResourceLimitError: as ``Engine.from_checkpoint``.
            FeatureError: one name in place of a list, or models that do not go together.
        """
        if isinstance(checkpoints, (str, os.PathLike)):
            raise FeatureError(f"checkpoints: expected a list of paths or names, got {os.fspath(checkpoints)!r} alone")
        engines = [Engine.from_checkpoint(given, **options) for given in checkpoints]
        check_together([engine.config for engine in engines], [os.fspath(given) for given in checkpoints])
        kind = options.get("compute_type", "auto")
        return cls(
            engines,
            extractors=extractors,
            compute_type=kind if kind in COMPUTE_TYPES else "auto",  # float16 is for models of other backends
            num_threads=options.get("num_threads", 0),
            skip_missing=skip_missing,
        )

    def segment(self, source: Any, *, keep: Segmentation | None = None, **decision: Any) -> Segmentation:
        """The result of one movie, with what every model finds.

        Args:
            source: features, a feature file, a film, a screenplay or its file, as ``open_source`` takes them.
            keep: an earlier result that a person has edited: its locked and barred boundaries and names hold again, and
                shots of a film end at its locked boundaries.
            decision: keywords of ``Engine.segment``, each of which goes to the models whose task takes it.

        Raises:
            FeatureError: a source or features that do not fit the models, edits of another movie, or as
                ``Engine.segment``; names the file or the screenplay.
            UnsupportedError: a missing extra.
        """
        options = self.options(decision)
        with naming(source):
            return self._found(source, options, lambda engine, features, own: engine.segment(features, **own), keep)[0]

    def explained(self, source: Any, *, keep: Segmentation | None = None, **decision: Any) -> Explained:
        """``segment``, with why scenes end where they do and a film's thumbnails; every model runs once.

        Raises:
            FeatureError, UnsupportedError: as ``segment``.
        """
        options, run = self.options(decision), Explaining()
        with naming(source):
            result, thumbnails = self._found(source, options, run, keep)
        return Explained(result, run.explanation, thumbnails)

    def _found(
        self, source: Any, options: Sequence[Mapping[str, Any]], run: Run, keep: Segmentation | None
    ) -> tuple[Segmentation, Thumbnails | None]:
        """The result of a source and its thumbnails, each model run by ``run``, with the edits of ``keep``."""
        if keep is None:
            return self._run(source, options, run)
        check_edits(self.engines, keep)
        own = lambda engine, features, given: run(engine, features, edited(engine, features, given, keep))  # noqa: E731
        result, thumbnails = self._run(source, options, own, keep)
        return with_edits(result, keep), thumbnails

    def _run(
        self, source: Any, options: Sequence[Mapping[str, Any]], run: Run, keep: Segmentation | None = None
    ) -> tuple[Segmentation, Thumbnails | None]:
        opened = open_source(source)
        if isinstance(opened, Features):
            check_same_features([config.recipe for config in self._configs], location(source))
            rows = [prepared(opened, engine.config.recipe) for engine in self.engines]
            parts = zip(self.engines, rows, options, strict=True)
            return joined([_told(engine, own, run(engine, own, given)) for engine, own, given in parts]), None
        passage = Passage(self._configs, opened, self._extractors, keep)
        for place, model in enumerate(passage.order):
            engine = self.engines[model]
            try:
                features = passage.features(model)
                found = run(engine, features, options[model])
            except (MissingInput, TooManyShots) as error:
                if not (self._skip_missing and place):
                    raise
                passage.leave_out(model, error)
                continue
            passage.add(model, _told(engine, features, found))
        return passage.result(), passage.thumbnails

    def segment_many(self, movies: Sequence[FeatureSource], **decision: Any) -> list[Segmentation]:
        """``segment`` for the features of several movies, which each model runs together.

        Raises:
            FeatureError, UnsupportedError: as ``segment``.
        """
        check_same_features([config.recipe for config in self._configs], "features")
        opened = [as_features(movie) for movie in movies]
        both = zip(self.engines, self.options(decision), strict=True)
        parts = []
        for engine, own in both:
            rows = [prepared(movie, engine.config.recipe) for movie in opened]
            parts.append([_told(engine, *one) for one in zip(rows, engine.segment_many(rows, **own), strict=True)])
        return [joined(part) for part in zip(*parts, strict=True)]

    def features(self, source: Any, model: int = 0) -> Features:
        """Features of a movie as the model of this number reads them without any other.

        Raises:
            FeatureError, UnsupportedError: as ``segment``; FeatureError: no model of that number.
        """
        if model not in range(len(self.engines)):
            raise FeatureError(f"model: expected a number from 0 to {len(self.engines) - 1}, got {model!r:.40}")
        opened = open_source(source)
        if isinstance(opened, Features):
            return prepared(opened, self._configs[model].recipe)
        recipe = recipe_for(opened, self._configs[model].recipe)
        return self._extractors.read(opened).features(recipe.name)

    def options(self, decision: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Of the keywords of ``segment``, those that each model's task takes.

        Raises:
            FeatureError: an option that no model takes, or a value that no movie allows.
        """
        tasks = [config.task for config in self._configs]
        parts = zip(tasks, options_for_each(tasks, decision), strict=True)
        return [deciding_task(task, "segment").given(own) for task, own in parts]


def _told(engine: Engine, features: Features, result: Segmentation) -> Segmentation:
    """A result whose remarks name the modalities that the model read as zeros."""
    absent = engine.absent(features)
    if not absent:
        return result
    return dataclasses.replace(result, remarks=(*result.remarks, f"{', '.join(absent)}: not there, read as zeros"))


@contextmanager
def naming(source: Any) -> Iterator[None]:
    """An error about features names the file or screenplay that they are of, where the source has a name."""
    where = source.name if isinstance(source, Screenplay) else location(source)
    try:
        yield
    except FeatureError as error:
        if str(error).startswith(where) or where == "features":
            raise
        raise type(error)(f"{where}: {error}") from error


def check_same_features(recipes: Iterable[str | None], source: str) -> None:
    """Check that models of these recipes can read one movie's feature file together.

    Raises:
        FeatureError: different recipes.
    """
    named = sorted({recipe for recipe in recipes if recipe})
    if len(named) > 1:
        raise FeatureError(
            f"{source}: the checkpoints read different features, {' and '.join(named)}; "
            "give the film or the screenplay itself, or one checkpoint"
        )

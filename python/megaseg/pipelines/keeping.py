"""A person's edits of an earlier result as options of the models that decide what was edited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from megaseg.engine.engine import Engine
from megaseg.engine.inputs.features import Features
from megaseg.engine.results.edits import Shots, edits_of, edits_on
from megaseg.engine.results.segmentation import Segmentation
from megaseg.engine.tasks.task import deciding_task
from megaseg.errors import FeatureError


def check_edits(engines: Sequence[Engine], keep: Segmentation) -> None:
    """Check that some model decides what a person has locked.

    Raises:
        FeatureError: none does.
    """
    locked = len(edits_of(keep).locked)
    if locked and not any(map(_takes_edits, engines)):
        tasks = ", ".join(engine.config.task for engine in engines)
        raise FeatureError(f"keep: expected a model of scenes, where {locked} boundaries are locked, got tasks {tasks}")


def edited(engine: Engine, features: Features, options: Mapping[str, Any], keep: Segmentation) -> Mapping[str, Any]:
    """Options of one model with a person's edits on the shots of ``features``, where its task takes them.

    Raises:
        FeatureError: edits of another movie.
    """
    if not _takes_edits(engine):
        return options
    return {**edits_on(keep, Shots(features.num_shots, features.times, features.time_base)), **options}


def _takes_edits(engine: Engine) -> bool:
    return "locked" in deciding_task(engine.config.task, "segment").options

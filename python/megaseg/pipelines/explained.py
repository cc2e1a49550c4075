"""A movie's result with what a report shows beside it: why scenes end where they do, and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from megaseg.engine.engine import Engine
from megaseg.engine.inputs.features import Features
from megaseg.engine.results.explanation import Explanation
from megaseg.engine.results.segmentation import Segmentation
from megaseg.engine.tasks.task import deciding_task
from megaseg.media.thumbnails import Thumbnails


@dataclass(frozen=True)
class Explained:
    """A result; what speaks for a boundary after each shot, from the scene model's one run; and the film's thumbnails.

    ``explanation`` is None without a scene model that explains itself, ``thumbnails`` is None where no film was read.
    """

    result: Segmentation
    explanation: Explanation | None = None
    thumbnails: Thumbnails | None = None


class Explaining:
    """Runs a model as ``Engine.segment`` does, and keeps the explanation of one that decides every shot by itself."""

    def __init__(self) -> None:
        self.explanation: Explanation | None = None

    def __call__(self, engine: Engine, features: Features, given: Mapping[str, Any]) -> Segmentation:
        """The result of one model over features, with its own options."""
        if not (engine.explains and deciding_task(engine.config.task, "explain").streams):
            return engine.segment(features, **given)
        self.explanation = engine.explain(features, about="boundary", **given)
        return self.explanation.segmentation

"""Extractors: each reads sources of one kind, such as screenplays, and gives the features of its recipes."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.features import Features
from megaseg.engine.results.source import Source
from megaseg.errors import FeatureError
from megaseg.media.thumbnails import Thumbnails


class UnnamedUnits(FeatureError):
    """A source that does not name the longer units, such as scenes, that a model reads."""


class MissingInput(FeatureError):
    """A source without what a model reads, such as dialogue; the message says how to supply it."""


class Reading(Protocol):
    """One source as an extractor reads it; values that several recipes share are computed once."""

    @property
    def remarks(self) -> Sequence[str]:
        """How the source was read, where a user should know; complete when features have been made."""
        ...

    @property
    def thumbnails(self) -> Thumbnails | None:
        """Small pictures of a film; None of another source."""
        ...

    def times(self) -> tuple[NDArray[np.int64] | None, Fraction | None]:
        """Start and end tick (shots, 2) of each shot, and the seconds of a tick; None where the source has no times."""
        ...

    def end_shots_at(self, seconds: Sequence[Fraction]) -> None:
        """Have shots end at these times as well, before anything is computed; no matter where there are no times."""
        ...

    def source(self) -> Source:
        """What a result tells of the source itself; complete when features have been made."""
        ...

    def named_ends(self) -> NDArray[np.int64]:
        """Last shot (units,) of each longer unit, such as a scene, that the source itself names.

        Raises:
            UnnamedUnits: the source names none.
        """
        ...

    def features(self, recipe: str, ends: NDArray[np.int64] | None = None) -> Features:
        """Features of one of the extractor's recipes.

        A recipe of longer units takes those that end with the shots ``ends``, increasing; None takes the source's own.

        Raises:
            UnnamedUnits: a recipe of longer units, and a source that names none.
            MissingInput: the source lacks what the recipe is made of.
            UnsupportedError: a missing extra.
        """
        ...


class Extractor(Protocol):
    """An extractor with its models, which are loaded when the first source needs them."""

    reads: ClassVar[type[Any]]
    """The kind of source."""

    def __init__(self, *, compute_type: str = "auto", num_threads: int = 0) -> None: ...

    def read(self, source: Any) -> Reading:
        """One source, of which nothing is computed yet."""
        ...

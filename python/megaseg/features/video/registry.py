"""The table of extractors: which measure each has, what it measures, and the modality that it belongs to."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from megaseg.errors import UnsupportedError
from megaseg.features.audio.log_mel import LogMelMeasure
from megaseg.features.visual.clip import ClipMeasure
from megaseg.features.visual.colour import ColourMeasure
from megaseg.features.visual.efficientnet import EfficientNetMeasure
from megaseg.features.visual.motion import MotionMeasure
from megaseg.media.measures import Measure, MeasureSpec


@dataclass(frozen=True, slots=True)
class VideoFeature:
    """One extractor: its measure, of ``frames``, ``pictures`` or ``sound``, and the options that the measure takes.

    ``width`` is None where it depends on the model that is given.
    """

    name: str
    modality: str
    kind: str
    width: int | None
    measure: Callable[..., Measure]
    options: tuple[str, ...] = ()

    def spec(self, **options: Any) -> MeasureSpec:
        """The measure as a decoding pass makes it, of those of ``options`` that it takes."""
        own = {name: value for name, value in options.items() if name in self.options}
        return MeasureSpec.of(self.measure, **own)


EXTRACTORS = {
    feature.name: feature
    for feature in (
        VideoFeature("efficientnet", "visual", "pictures", 1280, EfficientNetMeasure, ("num_threads",)),
        VideoFeature("colour", "colour", "pictures", ColourMeasure.width, ColourMeasure),
        VideoFeature("motion", "motion", "frames", MotionMeasure.width, MotionMeasure),
        VideoFeature("log_mel", "audio", "sound", LogMelMeasure.width, LogMelMeasure),
        VideoFeature("clip", "visual", "pictures", None, ClipMeasure, ("folder", "num_threads")),
    )
}
DEFAULTS = tuple(name for name, feature in EXTRACTORS.items() if "folder" not in feature.options)


def video_extractor(name: str) -> VideoFeature:
    """The extractor of a name.

    Raises:
        UnsupportedError: no such extractor.
    """
    if name not in EXTRACTORS:
        raise UnsupportedError(f"extractors: expected some of {', '.join(EXTRACTORS)}, got {name!r}")
    return EXTRACTORS[name]


def chosen(names: Sequence[str] | None, clip: str | os.PathLike[str] | None) -> list[VideoFeature]:
    """Extractors by their names; None takes ``DEFAULTS``, with CLIP in place of the other network where it is given.

    Raises:
        UnsupportedError: no such extractor, two of one modality, or ``clip`` without its folder or the other way.
    """
    if names is None:
        names = DEFAULTS if clip is None else [name for name in DEFAULTS if name != "efficientnet"] + ["clip"]
    found = [video_extractor(name) for name in names]
    if ("clip" in names) != (clip is not None):
        raise UnsupportedError(f"clip: expected the extractor and its folder, got {clip or 'no folder'}")
    twice = [feature.modality for feature in found]
    if len(set(twice)) < len(twice):
        raise UnsupportedError(f"extractors: expected one a modality, got {', '.join(names)}")
    return found

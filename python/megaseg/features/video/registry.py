"""The table of extractors: which measure each has, and the modality that it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from megaseg.errors import UnsupportedError
from megaseg.features.audio.log_mel import LogMelMeasure
from megaseg.features.visual.colour import ColourMeasure
from megaseg.features.visual.efficientnet import EfficientNetMeasure
from megaseg.features.visual.motion import MotionMeasure
from megaseg.media.measures import Measure


@dataclass(frozen=True, slots=True)
class VideoExtractor:
    """One extractor. ``make(num_threads=...)`` is its measure, which loads no model before its first call."""

    name: str
    modality: str
    width: int
    make: Callable[..., Measure]


def _plain(make: Callable[[], Measure]) -> Callable[..., Measure]:
    return lambda num_threads=0: make()


EXTRACTORS = {
    extractor.name: extractor
    for extractor in (
        VideoExtractor("efficientnet", "visual", EfficientNetMeasure.width, EfficientNetMeasure),
        VideoExtractor("colour", "colour", ColourMeasure.width, _plain(ColourMeasure)),
        VideoExtractor("motion", "motion", MotionMeasure.width, _plain(MotionMeasure)),
        VideoExtractor("log_mel", "audio", LogMelMeasure.width, _plain(LogMelMeasure)),
    )
}
DEFAULTS = tuple(EXTRACTORS)


def video_extractor(name: str) -> VideoExtractor:
    """The extractor of a name.

    Raises:
        UnsupportedError: no such extractor.
    """
    if name not in EXTRACTORS:
        raise UnsupportedError(f"extractors: expected some of {', '.join(EXTRACTORS)}, got {name!r}")
    return EXTRACTORS[name]

"""The table of extractors: which measure each has, what it measures, and the modality that it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from megaseg.errors import UnsupportedError
from megaseg.features.audio.log_mel import LogMelMeasure
from megaseg.features.visual.colour import ColourMeasure
from megaseg.features.visual.efficientnet import EfficientNetMeasure
from megaseg.features.visual.motion import MotionMeasure
from megaseg.media.measures import Measure, MeasureSpec


@dataclass(frozen=True, slots=True)
class VideoFeature:
    """One extractor: the class of its measure, and whether that takes ``num_threads``."""

    name: str
    modality: str
    of: Literal["frames", "pictures", "sound"]
    measure: type[Measure]
    threaded: bool = False

    def spec(self, num_threads: int = 0) -> MeasureSpec:
        """The measure as a film's reading takes it; it loads no model before its first call."""
        return MeasureSpec.of(self.measure, **({"num_threads": num_threads} if self.threaded else {}))


EXTRACTORS = {
    extractor.name: extractor
    for extractor in (
        VideoFeature("efficientnet", "visual", "pictures", EfficientNetMeasure, threaded=True),
        VideoFeature("colour", "colour", "pictures", ColourMeasure),
        VideoFeature("motion", "motion", "frames", MotionMeasure),
        VideoFeature("log_mel", "audio", "sound", LogMelMeasure),
    )
}
DEFAULTS = tuple(EXTRACTORS)


def video_extractor(name: str) -> VideoFeature:
    """The extractor of a name.

    Raises:
        UnsupportedError: no such extractor.
    """
    if name not in EXTRACTORS:
        raise UnsupportedError(f"extractors: expected some of {', '.join(EXTRACTORS)}, got {name!r}")
    return EXTRACTORS[name]

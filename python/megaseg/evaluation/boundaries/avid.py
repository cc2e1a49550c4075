"""Media Composer: markers as text, with tabs between the fields."""

from __future__ import annotations

import re

from megaseg.evaluation.boundaries.clock import Counting, Span

_MARKER = re.compile(r"^[^\t\n]*\t(\d\d:\d\d:\d\d[:;]\d\d)\t([^\t\n]+)\t", re.MULTILINE | re.ASCII)
_PICTURES = "V1"


def fits(text: str) -> bool:
    """The first line is a marker."""
    return _MARKER.match(text) is not None


def read(text: str, counting: Counting) -> list[Span]:
    """Markers of the first track of pictures; of all tracks where it has none.

    Raises:
        FeatureError: no frame rate, or a timecode that is none at it.
    """
    markers = [(counting.number(timecode), track) for timecode, track in _MARKER.findall(text)]
    own = [number for number, track in markers if track == _PICTURES]
    return counting.of_markers(own or [number for number, _ in markers])

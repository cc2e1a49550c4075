"""EDL: events of CMX 3600, one a part, or markers of DaVinci Resolve."""

from __future__ import annotations

import re

from megaseg.evaluation.boundaries.clock import Counting, Span
from megaseg.media.shots.lists.edl import events
from megaseg.media.timecode import counted, marks_drop

_EVENT = re.compile(r"^\d+\s.*\d:\d\d:\d\d[:;.,]\d\d", re.MULTILINE | re.ASCII)
_MARKER = re.compile(r"^(?=.*\|M:).*\|C:(\w+)", re.MULTILINE)
_OTHERS = ("ResolveColorRed", "ResolveColorSand")  # turning points and acts, as ``export`` colours them


def fits(text: str) -> bool:
    """A line of an event."""
    return _EVENT.search(text) is not None


def read(text: str, counting: Counting) -> list[Span]:
    """Record times, from the first frame's timecode, else from the first event, of markers from the hour before it.

    Markers in the colours of turning points and acts are passed over where there are others.

    Raises:
        FeatureError: no frame rate, or an event that cannot be read; names the line.
    """
    rate = counting.required()

    def number(timecode: str, drop: bool) -> int:
        return counted(timecode, rate.base, drop=drop or rate.drop or marks_drop(timecode))

    drop, found = events(text, number)
    colours = _MARKER.findall(text)
    origin = number(counting.start, drop) if counting.start else found[0][0] + 1
    if origin > found[0][0]:
        hour = number("01:00:00:00", drop)
        origin = found[0][0] // hour * hour if colours else found[0][0]
    if len(colours) == len(found) and not {*colours} <= {*_OTHERS}:
        found = [event for event, colour in zip(found, colours, strict=True) if colour not in _OTHERS]
    return [(rate.seconds(begin - origin), None if colours else rate.seconds(end - origin)) for begin, end in found]

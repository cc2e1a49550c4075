"""EDL: events of CMX 3600, one a part, or markers of DaVinci Resolve."""

from __future__ import annotations

import re

from megaseg.evaluation.boundaries.clock import Counting, Span
from megaseg.media.shots.lists.edl import events

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
    drop, found = events(text, counting.number)
    colours = _MARKER.findall(text)
    if colours:
        if len(colours) == len(found) and not {*colours} <= {*_OTHERS}:
            found = [event for event, colour in zip(found, colours, strict=True) if colour not in _OTHERS]
        return counting.of_markers([begin for begin, _ in found], drop)
    rate, origin = counting.required(), found[0][0]
    if counting.start and counting.number(counting.start, drop) <= origin:
        origin = counting.number(counting.start, drop)
    return [(rate.seconds(begin - origin), rate.seconds(end - origin)) for begin, end in found]

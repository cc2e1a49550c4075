"""``resolve``: timeline markers of DaVinci Resolve, as its own "Timeline Markers to EDL" writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from megaseg.export.edl import header
from megaseg.export.formats import Format
from megaseg.export.frames import frame_at, score_note, spans, timecode
from megaseg.export.text import one_line
from megaseg.export.timeline import Mark, Part, Timeline

ACTS = ("Cyan", "Green", "Yellow", "Pink", "Purple", "Lemon")  # colours of scenes by their act, in turn
NO_ACT, ACT, POINT = "Blue", "Sand", "Red"


def write(timeline: Timeline) -> bytes:
    """A marker a scene, coloured by act, then turning points, and acts as ranges.

    Resolve keeps one marker a frame: where there are several, the first has the names of the others in its note.
    """
    markers: dict[int, list[_Marker]] = {}
    for span in spans(timeline, timeline.marked):
        act = span.part.act
        colour = NO_ACT if act is None else ACTS[(act - 1) % len(ACTS)]
        markers.setdefault(span.first, []).append(_Marker(span.part, colour, 1))
    for point in timeline.points:
        markers.setdefault(frame_at(timeline, point.seconds), []).append(_Marker(point, POINT, 1))
    for span in spans(timeline, timeline.acts):
        markers.setdefault(span.first, []).append(_Marker(span.part, ACT, span.frames))
    lines = header(timeline)
    for number, (frame, own) in enumerate(sorted(markers.items()), 1):
        begin, end = timecode(timeline, frame), timecode(timeline, frame + 1)
        lines += [f"{number:03d}  001      V     C        {begin} {end} {begin} {end}  ", _line(own), ""]
    return "\n".join(lines).encode()


class _Marker(NamedTuple):
    of: Part | Mark
    colour: str
    frames: int


def _line(markers: Sequence[_Marker]) -> str:
    """The first of a frame's markers; the names of the others stand in its note."""
    first, *others = markers
    note = "; ".join([score_note(first.of), *(_text(other.of.name) for other in others)])
    return f"{note} |C:ResolveColor{first.colour} |M:{_text(first.of.name)} |D:{first.frames}"


def _text(name: str) -> str:
    """A name without the bars that part the fields."""
    return one_line(name).replace("|", "¦")


FORMAT = Format("resolve", ".resolve.edl", "Timeline markers of DaVinci Resolve, coloured by act", write, framed=True)

"""``avid``: markers of Avid Media Composer, as its Markers window exports and imports them."""

from __future__ import annotations

from megaseg.export.formats import Format
from megaseg.export.frames import frame_at, score_note, spans, timecode
from megaseg.export.text import one_line
from megaseg.export.timeline import Mark, Part, Timeline

USER = "megaseg"
SCENES = ("green", "blue", "cyan", "magenta", "yellow", "white")  # by act, in turn
ACT, POINT = "black", "red"
# Media Composer keeps one marker a frame and track.
SCENE_TRACK, ACT_TRACK = "V1", "TC1"


def write(timeline: Timeline) -> bytes:
    """A line a marker: user, timecode, track, colour, text, and its length in frames."""
    lines = []
    for span in spans(timeline, timeline.marked):
        colour = SCENES[((span.part.act or 1) - 1) % len(SCENES)]
        lines.append((span.first, SCENE_TRACK, colour, _text(span.part), 1))
    lines += [(s.first, ACT_TRACK, ACT, _text(s.part), s.frames) for s in spans(timeline, timeline.acts)]
    lines += [(frame_at(timeline, point.seconds), ACT_TRACK, POINT, _text(point), 1) for point in timeline.points]
    return "".join(
        f"{USER}\t{timecode(timeline, frame)}\t{track}\t{colour}\t{text}\t{frames}\n"
        for frame, track, colour, text, frames in sorted(lines, key=lambda line: line[0])
    ).encode()


def _text(part: Part | Mark) -> str:
    return f"{one_line(part.name)} ({score_note(part)})"


FORMAT = Format("avid", ".avid.txt", "Markers of Avid Media Composer, coloured by act", write, framed=True)

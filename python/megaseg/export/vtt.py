"""``vtt``: a WebVTT track of chapters, ``<track kind="chapters">`` of web players."""

from __future__ import annotations

from xml.sax.saxutils import escape

from megaseg.export.formats import Format
from megaseg.export.text import one_line
from megaseg.export.timeline import Timeline
from megaseg.media.timecode import clock, ticks


def write(timeline: Timeline) -> bytes:
    """One cue a scene. Scenes that end within the millisecond in which they begin have no cue."""
    cues = [
        f"{part.number}\n{clock(part.start)} --> {clock(part.end)}\n{escape(one_line(part.name))}\n"
        for part in timeline.scenes
        if ticks(part.start, 1000) < ticks(part.end, 1000)
    ]
    return "\n".join(["WEBVTT\n", *cues]).encode()


FORMAT = Format("vtt", ".chapters.vtt", "Chapters for web players (WebVTT)", write)

"""``ogm``: chapters in plain text, as OGM tools and Nero write them; mkvmerge, MP4Box and encoders read them."""

from __future__ import annotations

from megaseg.export.formats import Format
from megaseg.export.text import one_line
from megaseg.export.timeline import Timeline
from megaseg.media.timecode import clock


def write(timeline: Timeline) -> bytes:
    """Two lines a scene, its start in milliseconds and its name."""
    lines = []
    for number, part in enumerate(timeline.scenes, 1):
        lines += [f"CHAPTER{number:02d}={clock(part.start)}", f"CHAPTER{number:02d}NAME={one_line(part.name)}"]
    return ("\n".join(lines) + "\n").encode()


FORMAT = Format("ogm", ".ogm.txt", "Chapters in plain text for MP4Box, mkvmerge and encoders (OGM, Nero)", write)

"""``ffmetadata``: chapters as ffmpeg reads them (``ffmpeg -i film.mp4 -i film.ffmetadata.txt -map_chapters 1``)."""

from __future__ import annotations

import re
from fractions import Fraction

from megaseg.export.formats import Format
from megaseg.export.text import one_line
from megaseg.export.timeline import Timeline
from megaseg.media.timecode import ticks

BASE = 1_000_000  # ticks a second


def write(timeline: Timeline) -> bytes:
    """A section a scene, in microseconds."""
    lines = [";FFMETADATA1", f"title={_escaped(timeline.title)}"]
    for part in timeline.scenes:
        lines += [
            "",
            "[CHAPTER]",
            f"TIMEBASE=1/{BASE}",
            f"START={_ticks(part.start)}",
            f"END={_ticks(part.end)}",
            f"title={_escaped(part.name)}",
        ]
    return ("\n".join(lines) + "\n").encode()


def _ticks(seconds: Fraction) -> int:
    return ticks(seconds, BASE)


def _escaped(text: str) -> str:
    escaped = re.sub(r"([=;#\\])", r"\\\1", one_line(text))
    return escaped + " " if escaped.endswith("\\") else escaped  # ffmpeg takes any backslash there for the line's end


FORMAT = Format("ffmetadata", ".ffmetadata.txt", "Chapters for ffmpeg and programs built on it", write)

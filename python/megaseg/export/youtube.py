"""``youtube``: chapters as lines of a video's description.

YouTube shows them where the first is at 0:00 and there are at least three, each of 10 seconds or more. A description
has room for 5,000 bytes.
"""

from __future__ import annotations

from megaseg.export.formats import Format
from megaseg.export.text import shortened
from megaseg.export.timeline import Part, Timeline
from megaseg.media.timecode import ticks

SHORTEST, FEWEST = 10, 3  # seconds of a chapter; chapters
ROOM = 5000  # bytes of a description
LETTERS = (1000, 100, 60, 40, 30, 20)  # of a name at most: the first of these with which all have room
_BRACKETS = str.maketrans("<>", "‹›")  # a description must not have the former


def write(timeline: Timeline) -> bytes:
    """A line a scene: its start to the second, its name. Scenes that are too short go with the one before.

    Names are as long as the description has room for. Where fewer than three scenes are long enough, which YouTube
    would not show in any case, every scene has its line.
    """
    parts = _long_enough(timeline)
    if len(parts) < FEWEST:
        parts = list(timeline.scenes)
    seconds = [ticks(part.start, 1) for part in parts]
    if seconds:
        seconds[0] = 0
    hours = bool(seconds) and seconds[-1] >= 3600
    for letters in LETTERS:
        names = [shortened(part.name, letters).translate(_BRACKETS) for part in parts]
        lines = [f"{_clock(second, hours)} {name}\n" for second, name in zip(seconds, names, strict=True)]
        text = "".join(lines).encode()
        if len(text) <= ROOM:
            break
    return text


def _long_enough(timeline: Timeline) -> list[Part]:
    end = ticks(timeline.duration, 1)
    kept: list[Part] = []
    for part in timeline.scenes:
        start = ticks(part.start, 1)
        if not kept or (start - ticks(kept[-1].start, 1) >= SHORTEST and end - start >= SHORTEST):
            kept.append(part)
    return kept


def _clock(second: int, hours: bool) -> str:
    rest = f"{second // 60 % 60:02d}:{second % 60:02d}"
    return f"{second // 3600}:{rest}" if hours else rest


FORMAT = Format("youtube", ".youtube.txt", "Chapters as lines of a YouTube description", write)

"""Subtitles that are a track of a film."""

from __future__ import annotations

from typing import Any

from megaseg.media.container import Film
from megaseg.media.subtitles import SubtitleLine, without_markup

_SHOWN = 3000  # milliseconds of a line whose end is not known


def lines(film: Film, packet: Any) -> list[SubtitleLine]:
    """Lines of one packet of the subtitle track that is read; none of a damaged or empty one."""
    if packet.pts is None or not packet.size:
        return []
    begin = round((float(packet.pts * packet.time_base) - film.start_seconds) * 1000)
    length = round(float((packet.duration or 0) * packet.time_base) * 1000) or _SHOWN
    texts = (_plain(rect) for rect in film.decode(film.subtitles, packet))
    return [SubtitleLine(begin, begin + length, text) for text in texts if text]


def _plain(rect: Any) -> str:
    """Text of an event of ASS, which libav makes of every kind of text; none of a picture."""
    text = rect.dialogue.decode("utf-8", "replace") if hasattr(rect, "dialogue") else ""
    return without_markup(text)

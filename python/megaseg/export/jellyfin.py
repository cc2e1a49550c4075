"""``jellyfin``: the ``<chapters>`` of a film's NFO file, as Jellyfin's plugin NFO Chapters reads them."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from megaseg.export.formats import Format
from megaseg.export.text import one_line
from megaseg.export.timeline import Timeline
from megaseg.media.timecode import decimal


def write(timeline: Timeline) -> bytes:
    """An NFO with a film's title and its chapters, in seconds; its chapters can go into an NFO that is there."""
    chapters = [
        f"    <chapter name={quoteattr(one_line(part.name))} start={quoteattr(decimal(part.start))}/>"
        for part in timeline.scenes
    ]
    lines = ['<?xml version="1.0" encoding="UTF-8" standalone="yes"?>', "<movie>"]
    lines += [f"  <title>{escape(one_line(timeline.title))}</title>", "  <chapters>", *chapters, "  </chapters>"]
    return ("\n".join([*lines, "</movie>"]) + "\n").encode()


FORMAT = Format("jellyfin", ".chapters.nfo", "Chapters of an NFO file for Jellyfin's plugin NFO Chapters", write)

"""``jellyfin``: the ``<chapters>`` of a film's NFO file, as Jellyfin's plugin NFO Chapters reads them."""

from __future__ import annotations

from megaseg.export.formats import Format
from megaseg.export.text import one_line
from megaseg.export.timeline import Timeline
from megaseg.export.xml_file import document, element
from megaseg.media.timecode import decimal


def write(timeline: Timeline) -> bytes:
    """An NFO with a film's title and its chapters, in seconds; its chapters can go into an NFO that is there."""
    chapters = [element("chapter", name=one_line(part.name), start=decimal(part.start)) for part in timeline.scenes]
    return document(element("movie", element("title", one_line(timeline.title)), element("chapters", *chapters)))


FORMAT = Format("jellyfin", ".chapters.nfo", "Chapters of an NFO file for Jellyfin's plugin NFO Chapters", write)

"""``matroska``: chapters as mkvmerge reads them, and as players look for them beside a film (``film.chapters.xml``)."""

from __future__ import annotations

from megaseg.export.formats import Format
from megaseg.export.text import one_line
from megaseg.export.timeline import Part, Timeline
from megaseg.export.xml_file import Element, document, element
from megaseg.media.timecode import clock


def write(timeline: Timeline) -> bytes:
    """One edition, in which every scene is a chapter of the top level, in nanoseconds."""
    edition = element("EditionEntry", element("EditionFlagDefault", 1), element("EditionUID", 1))
    edition.extend(_chapter(part) for part in timeline.scenes)
    return document(element("Chapters", edition))


def _chapter(part: Part) -> Element:
    return element(
        "ChapterAtom",
        element("ChapterUID", part.number),
        element("ChapterTimeStart", clock(part.start, 9)),
        element("ChapterTimeEnd", clock(part.end, 9)),
        element("ChapterDisplay", element("ChapterString", one_line(part.name)), element("ChapterLanguage", "und")),
    )


FORMAT = Format("matroska", ".chapters.xml", "Chapters for mkvmerge and MKVToolNix, beside a film for Jellyfin", write)

"""``matroska``: chapters as mkvmerge reads them, and as players look for them beside a film (``film.chapters.xml``)."""

from __future__ import annotations

from xml.sax.saxutils import escape

from megaseg.export.formats import Format
from megaseg.export.text import one_line
from megaseg.export.timeline import Part, Timeline
from megaseg.media.timecode import clock


def write(timeline: Timeline) -> bytes:
    """One edition, in which every scene is a chapter of the top level, in nanoseconds."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<Chapters>", "  <EditionEntry>"]
    lines += ["    <EditionFlagDefault>1</EditionFlagDefault>", "    <EditionUID>1</EditionUID>"]
    for part in timeline.scenes:
        lines += _chapter(part)
    lines += ["  </EditionEntry>", "</Chapters>"]
    return ("\n".join(lines) + "\n").encode()


def _chapter(part: Part) -> list[str]:
    return [
        "    <ChapterAtom>",
        f"      <ChapterUID>{part.number}</ChapterUID>",
        f"      <ChapterTimeStart>{clock(part.start, 9)}</ChapterTimeStart>",
        f"      <ChapterTimeEnd>{clock(part.end, 9)}</ChapterTimeEnd>",
        "      <ChapterDisplay>",
        f"        <ChapterString>{escape(one_line(part.name))}</ChapterString>",
        "        <ChapterLanguage>und</ChapterLanguage>",
        "      </ChapterDisplay>",
        "    </ChapterAtom>",
    ]


FORMAT = Format("matroska", ".chapters.xml", "Chapters for mkvmerge and MKVToolNix, beside a film for Jellyfin", write)

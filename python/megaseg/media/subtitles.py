"""Subtitles: lines of text with times, embedded in a film or in a file beside it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass

_OVERRIDES = re.compile(r"\{[^{}]*\}")
_DRAWING = re.compile(r"\{[^{}]*\\p[1-9][^{}]*\}.*?(?=\{[^{}]*\\p0[^{}]*\}|$)", re.DOTALL)
# Tags of HTML and WebVTT: <i>, </font>, <v Anna>, <c.yellow>, <00:01:02.000>; "5 < 6" and "<3" are text.
_TAGS = re.compile(r"<\s*/?\s*[A-Za-z][^<>]*>|</>|<\d+:[\d:.]+>")
_BREAKS = re.compile(r"\\[Nn]|<br\s*/?>|[\r\v\f\x85\u2028\u2029]+", re.IGNORECASE)
# Controls, soft hyphens, marks of direction and width.
_INVISIBLE = dict.fromkeys(
    [
        *range(9),
        11,
        12,
        *range(14, 32),
        0xAD,
        0xFEFF,
        *range(0x200B, 0x2010),
        *range(0x202A, 0x202F),
        *range(0x2060, 0x2065),
    ]
)
_SOUNDS = re.compile(r"\[[^\[\]]*\]|\([^()]*\)|（[^（）]*）|【[^【】]*】|［[^［］]*］")
_NOTES = "♪♫♩♬"
_DASH = re.compile(r"^[\s‐-―−-]+$")
_EVENT_FIELDS = 8  # before the text of an event in a packet: ReadOrder to Effect
_DIALOGUE_FIELDS = 9  # before the text of an event in a file: Layer to Effect


@dataclass(frozen=True, slots=True)
class SubtitleLine:
    """One line as shown: milliseconds from the start of the presentation, and plain text."""

    start_ms: int
    end_ms: int
    text: str


def plain_text(event: str) -> str:
    """The text of an ASS event as libav gives it, ``ReadOrder,Layer,Style,...,Text``; a file's event line does as well.

    Empty for comments and drawings.
    """
    if event.lstrip().startswith("Comment:"):
        return ""
    fields = _EVENT_FIELDS
    if event.lstrip().startswith("Dialogue:"):
        event, fields = event.partition(":")[2], _DIALOGUE_FIELDS
    return without_markup(event.split(",", fields)[-1])


def without_markup(text: str) -> str:
    """Text without override tags, drawings, HTML tags and invisible characters; dashes of speakers stay.

    Rows stay apart by a line feed; spaces are single.
    """
    text = _OVERRIDES.sub("", _DRAWING.sub("", text))
    text = html.unescape(_TAGS.sub("", _BREAKS.sub("\n", text).replace("\\h", " ")))
    rows = (" ".join(row.split()) for row in text.translate(_INVISIBLE).split("\n"))
    return "\n".join(row for row in rows if row)


def in_order(lines: Iterable[SubtitleLine]) -> tuple[SubtitleLine, ...]:
    """Lines by their start, each once, without those of no text or no time; what is before the start is cut off.

    A line whose end is before its start is one of no time.
    """
    found = {
        SubtitleLine(max(0, line.start_ms), line.end_ms, line.text)
        for line in lines
        if line.text.strip() and line.end_ms > max(0, line.start_ms)
    }
    return tuple(sorted(found, key=lambda line: (line.start_ms, line.end_ms, line.text)))


def spoken(lines: Iterable[SubtitleLine]) -> tuple[SubtitleLine, ...]:
    """Lines ``in_order`` that hold speech, without what subtitles for the hard of hearing add.

    Left out are sounds and names in brackets, such as ``[music]`` and ``(door slams)``, and rows that are sung, which
    bear a note (♪) or stand between two number signs. Rows become one.
    """
    said = (SubtitleLine(line.start_ms, line.end_ms, _speech(line.text)) for line in in_order(lines))
    return tuple(line for line in said if line.text)


def _speech(text: str) -> str:
    rows = _SOUNDS.sub(" ", text).split("\n")
    kept = [row for row in rows if not _DASH.match(row) and not _sung(row.strip())]
    return " ".join(" ".join(kept).split())


def _sung(row: str) -> bool:
    return any(note in row for note in _NOTES) or (len(row) > 1 and row[0] == row[-1] == "#")

"""Lines to paragraphs by their column: action and headings are flush left, speeches further in, cues furthest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from megaseg.features.screenplay.paragraphs import (
    CUE,
    HEADING,
    PARENTHETICAL,
    SPEECH,
    UNKNOWN,
    Paragraph,
    is_heading,
)
from megaseg.features.screenplay.pdf.lines import Line

_LETTER = 0.6  # width of a letter of Courier by the size of its font
_INDENT = 4.0  # letters; what is further in than this is no action
_LEAST_SHARE = 0.04  # of the lines, that a column has to be one
_MORE = re.compile(r"\W*(?:MORE|CONTINUED|CONT['’]?D)\W*(?:\(\d+\))?\W*", re.IGNORECASE)


def paragraphs(lines: Sequence[Line]) -> list[Paragraph] | None:
    """Paragraphs in reading order; None where no column of speeches is found."""
    columns = _Columns.of(lines)
    return None if columns is None else _continued(_grouped(lines, columns))


class _Columns:
    """Left edges of action and of speeches, in points."""

    def __init__(self, action: float, speech: float, letter: float) -> None:
        self.action, self.speech, self.letter = action, speech, letter

    @classmethod
    def of(cls, lines: Sequence[Line]) -> _Columns | None:
        if not lines:
            return None
        letter = _LETTER * Counter(round(line.size, 1) for line in lines).most_common(1)[0][0] or 7.2
        edges = Counter(round(line.x / 3) * 3 for line in lines)
        flush = [x for x, count in edges.items() if count >= max(1, _LEAST_SHARE * len(lines))]
        action = float(min(flush, default=min(edges)))
        after_cue = Counter(
            round(line.x / 3) * 3
            for before, line in pairwise(lines)
            if not line.parted
            and line.x > action + _INDENT * letter
            and not line.words.startswith("(")
            and (before.x > line.x + letter or abs(before.x - line.x) <= letter)
        )
        if not after_cue:
            return None
        return cls(action, float(after_cue.most_common(1)[0][0]), letter)

    def is_flush(self, line: Line) -> bool:
        return line.x <= self.action + _INDENT * self.letter

    def in_speech(self, line: Line) -> bool:
        return abs(line.x - self.speech) <= 2.5 * self.letter

    def in_cue(self, line: Line) -> bool:
        return line.x > self.speech + 3 * self.letter


def _grouped(lines: Sequence[Line], columns: _Columns) -> Iterator[tuple[Line, Paragraph]]:
    """Each paragraph with its first line."""
    kind, first, words = "", None, ""
    for at, line in enumerate(lines):
        if line.second is not None and columns.is_flush(line):
            joined = f"{line.words} {line.second.words}"
            line = replace(line, words=joined, second=None)
        new = _kind(lines, at, line, kind, columns)
        goes_on = first is not None and new == kind and not line.parted and new not in (CUE, HEADING)
        if goes_on and not (new == UNKNOWN and columns.is_flush(line) != columns.is_flush(lines[at - 1])):
            words = f"{words}\n{line.words}"
            continue
        if first is not None:
            yield first, Paragraph(kind, words)
        kind, first, words = new, line, line.words
    if first is not None:
        yield first, Paragraph(kind, words)


def _kind(lines: Sequence[Line], at: int, line: Line, before: str, columns: _Columns) -> str:
    """The kind of one line, whose predecessor's is ``before``."""
    if columns.is_flush(line):
        wrapped = before == HEADING and not line.parted and line.words.isupper()
        return HEADING if is_heading(line.words) or wrapped else UNKNOWN
    follows = at + 1 < len(lines) and not lines[at + 1].parted and not columns.is_flush(lines[at + 1])
    if line.words.startswith("("):
        return PARENTHETICAL if before in (CUE, SPEECH, PARENTHETICAL) else UNKNOWN
    if is_heading(line.words) and line.parted:
        return HEADING
    if _is_cue(line.words) and (
        (columns.in_cue(line) and (follows or _speech_next(lines, at, columns)))
        or (line.parted and follows and not columns.in_speech(line))
    ):
        return CUE
    if before == PARENTHETICAL and not line.parted and not columns.in_speech(line):
        return PARENTHETICAL
    if columns.in_speech(line) and before in (CUE, SPEECH, PARENTHETICAL):
        return SPEECH
    if line.parted and follows and _is_cue(line.words):
        return CUE  # cue and speech are of one column
    return UNKNOWN


def _speech_next(lines: Sequence[Line], at: int, columns: _Columns) -> bool:
    """Whether the line after a gap is of the column of speeches: double spacing."""
    return at + 1 < len(lines) and (columns.in_speech(lines[at + 1]) or lines[at + 1].words.startswith("("))


def _is_cue(words: str) -> bool:
    name = re.sub(r"\s*\([^)]*\)?", "", words).strip(" ^")
    return (
        bool(name)
        and len(name) <= 45
        and name == name.upper()
        and any(map(str.isalpha, name))
        and name[-1] not in ":!?"
    )


def _continued(grouped: Iterator[tuple[Line, Paragraph]]) -> list[Paragraph]:
    """Paragraphs with those joined that a page's end parts: a speech after (MORE), a sentence that goes on."""
    out: list[Paragraph] = []
    page, more, speaker = -1, False, ""
    for line, paragraph in grouped:
        if _MORE.fullmatch(paragraph.words):
            more = more or "MORE" in paragraph.words.upper()
            continue
        new_page, page = line.page != page, line.page
        if paragraph.kind == CUE:
            name = re.sub(r"\s*\([^)]*\)?", "", paragraph.words).strip()
            same, speaker = name == speaker, name
            if more and same:
                more = False
                continue
        more = False
        last = out[-1] if out else None
        if new_page and last and last.kind == paragraph.kind == UNKNOWN and _goes_on(last.words, paragraph.words):
            out[-1] = Paragraph(UNKNOWN, f"{last.words}\n{paragraph.words}")
        else:
            out.append(paragraph)
    return out


def _goes_on(before: str, after: str) -> bool:
    return before[-1:] not in ".!?:…\"”')*" and after[:1].islower()

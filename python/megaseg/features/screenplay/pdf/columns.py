"""Lines to paragraphs by their column: action and headings are flush left, speeches further in, cues furthest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from megaseg.features.screenplay.pdf.lines import Line
from megaseg.features.screenplay.script.headings import is_heading
from megaseg.features.screenplay.typed_paragraphs import (
    CUE,
    HEADING,
    PARENTHETICAL,
    SPEECH,
    UNKNOWN,
    TypedParagraph,
)

_LETTER = 0.6  # width of a letter of Courier by the size of its font
_INDENT = 4.0  # letters; what is further in than this is no action
_LEAST_SHARE = 0.04  # of the lines, that a column has to be one
_FULL = 45  # letters of a line that the next word had no room in
_BROKEN = re.compile(r"(?<=\w-)\n(?=\w)")  # a line's end at a hyphen
_MORE = re.compile(r"\W*(?:MORE|CONTINUED|CONT['’]?D)\W*(?:\(\d+\))?\W*", re.IGNORECASE)


def paragraphs(lines: Sequence[Line]) -> list[TypedParagraph] | None:
    """Paragraphs in reading order; None where no column of speeches is found."""
    columns = _Columns.of(lines)
    if columns is None:
        return None
    return [TypedParagraph(kind, _BROKEN.sub("", words)) for kind, words in _continued(_grouped(lines, columns))]


class _Columns:
    """Left edges of action and of speeches, in points."""

    def __init__(self, action: float, speech: float, letter: float) -> None:
        self.action, self.speech, self.letter = action, speech, letter

    @classmethod
    def of(cls, lines: Sequence[Line]) -> _Columns | None:
        if not lines:
            return None
        letter = _LETTER * Counter(round(line.size, 1) for line in lines).most_common(1)[0][0] or 7.2
        # A heading that its number is written into begins in the margin.
        edges = Counter(round(line.x / 3) * 3 for line in lines if not line.words[:1].isdigit()) or Counter([0])
        flush = [x for x, count in edges.items() if count >= max(1, _LEAST_SHARE * len(lines))]
        action = float(min(flush, default=min(edges)))
        after_cue = Counter(
            round(line.x / 3) * 3
            for group in _groups(lines)
            for before, line in pairwise(group)
            if line.x > action + _INDENT * letter
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


def _groups(lines: Sequence[Line]) -> Iterator[list[Line]]:
    """Runs of lines without a gap, but those that have two columns."""
    at = 0
    while at < len(lines):
        end = _end(lines, at)
        if lines[at].second is None:
            yield list(lines[at:end])
        at = end


def _grouped(lines: Sequence[Line], columns: _Columns) -> Iterator[tuple[Line, TypedParagraph]]:
    """Each paragraph with its first line."""
    kind, first, words, at = "", None, "", 0
    while at < len(lines):
        line, both = lines[at], _side_by_side(lines, at)
        new = _kind(lines, at, kind, columns)
        if first is not None and (both or new != kind or not _goes_with(lines, at, kind, columns)):
            yield first, TypedParagraph(kind, words)
            first = None
        if both:
            yield from ((line, paragraph) for paragraph in both)
            at, kind = _end(lines, at), SPEECH
            continue
        kind = new
        first, words = (line, _words(line)) if first is None else (first, f"{words}\n{_words(line)}")
        at += 1
    if first is not None:
        yield first, TypedParagraph(kind, words)


def _words(line: Line) -> str:
    return line.words if line.second is None else f"{line.words} {line.second.words}"


def _goes_with(lines: Sequence[Line], at: int, kind: str, columns: _Columns) -> bool:
    """Whether a line of this kind is of the paragraph above it, which is of the same kind."""
    if lines[at].parted or kind == CUE:
        return False
    return kind != UNKNOWN or columns.is_flush(lines[at]) == columns.is_flush(lines[at - 1])


def _end(lines: Sequence[Line], at: int) -> int:
    """The line after those that follow one without a gap."""
    return next((end for end in range(at + 1, len(lines)) if lines[end].parted), len(lines))


def _side_by_side(lines: Sequence[Line], at: int) -> list[TypedParagraph]:
    """The two speeches that begin with a line of two cues; none where it has not two."""
    first = lines[at]
    if first.second is None or not (first.parted and _is_cue(first.words) and _is_cue(first.second.words)):
        return []
    middle = (first.x + first.second.x) / 2
    left: list[str] = []
    right: list[str] = []
    for line in lines[at + 1 : _end(lines, at)]:
        (left if line.x < middle else right).append(line.words)
        if line.second is not None:
            right.append(line.second.words)
    if not left or not right:
        return []
    speeches = ((first.words, left), (first.second.words, right))
    return [TypedParagraph(*both) for cue, rest in speeches for both in ((CUE, cue), (SPEECH, "\n".join(rest)))]


def _kind(lines: Sequence[Line], at: int, before: str, columns: _Columns) -> str:
    """The kind of one line, whose predecessor's is ``before``."""
    line = lines[at]
    words = _words(line)
    if columns.is_flush(line):
        wrapped = before == HEADING and not line.parted and words.isupper()
        return HEADING if wrapped or is_heading(words) else UNKNOWN
    if words.startswith("("):
        return PARENTHETICAL if before in (CUE, SPEECH, PARENTHETICAL) else UNKNOWN
    if line.parted and is_heading(words):
        return HEADING
    if _is_cue(words) and _in_place_of_cue(lines, at, columns):
        return CUE
    if before == PARENTHETICAL and not line.parted and not columns.in_speech(line):
        return PARENTHETICAL
    if columns.in_speech(line) and before in (CUE, SPEECH, PARENTHETICAL):
        return SPEECH
    return UNKNOWN


def _in_place_of_cue(lines: Sequence[Line], at: int, columns: _Columns) -> bool:
    """Whether a line stands where cues do: further in than speeches, or above a line of a speech after a gap."""
    line = lines[at]
    follows = at + 1 < len(lines) and not lines[at + 1].parted and not columns.is_flush(lines[at + 1])
    return (line.parted and follows) or (columns.in_cue(line) and (follows or _speech_next(lines, at, columns)))


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


def _continued(grouped: Iterator[tuple[Line, TypedParagraph]]) -> list[TypedParagraph]:
    """Paragraphs with those joined that a page's end parts: a speech after (MORE), a sentence that goes on."""
    out: list[TypedParagraph] = []
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
            out[-1] = TypedParagraph(UNKNOWN, f"{last.words}\n{paragraph.words}")
        else:
            out.append(paragraph)
    return out


def _goes_on(before: str, after: str) -> bool:
    """Whether a paragraph is the rest of one whose last line ends with no sentence: small letters, or a full line."""
    last = before.rpartition("\n")[2]
    return (last[-1:].isalnum() or last[-1:] in ",-–—") and (after[:1].islower() or len(last) > _FULL)

"""Runs of text on pages to lines in reading order, without scene numbers, revision marks, headers and footers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from statistics import median
from typing import NamedTuple

from megaseg.features.screenplay.script.headings import is_heading

_NUMBER = re.compile(r"\(?(?:[A-Z]{0,3}-?\d{1,4}(?:[A-Z.-]+\d*)?\.?|\*+)\)?")
_PAGE_NUMBER = re.compile(
    r"[-–(\[]?\s*(?:page\s*)?[A-Z]?\d{1,4}[A-Z]?\.?(?:\s*(?:/|of)\s*\d+)?\s*[-–)\]*]?", re.IGNORECASE
)
_MARK = re.compile(r"\s+\*+$")
_MARGIN = 72.0  # points from an edge in which headers and footers stand
_OFTEN = 3  # pages on which a line of a margin stands to be none of the story


class Piece(NamedTuple):
    """A run of text: place of its first letter and size of its font in points, and the height of its page."""

    x: float
    y: float
    size: float
    words: str
    height: float


@dataclass(frozen=True, slots=True)
class Line:
    """A line; ``parted`` where a gap wider than between lines, or a new page, is above it."""

    page: int
    x: float
    y: float
    size: float
    words: str
    parted: bool = True
    second: Piece | None = None  # a column to the right of it, such as of two who speak at once


def lines_of(pages: Sequence[Sequence[Piece]]) -> list[Line]:
    """Lines of the story in reading order."""
    lines = [line for number, page in enumerate(pages) for line in _of_page(number, page)]
    heights = {number: page[0].height for number, page in enumerate(pages) if page}
    lines = _without_title_page(_without_furniture(lines, heights))
    return _parted(lines)


def _of_page(number: int, page: Sequence[Piece]) -> list[Line]:
    rows: list[list[Piece]] = []
    for piece in sorted(page, key=lambda piece: -piece.y):
        if rows and rows[-1][0].y - piece.y < 0.35 * max(1.0, piece.size):
            rows[-1].append(piece)
        else:
            rows.append([piece])
    return [line for row in rows if (line := _line(number, sorted(row, key=lambda piece: piece.x)))]


def _line(number: int, row: list[Piece]) -> Line | None:
    """One line of its pieces: numbers and marks in the margins go where words stand beside them."""
    while len(row) > 1 and _NUMBER.fullmatch(row[-1].words):
        row = row[:-1]
    while len(row) > 1 and _NUMBER.fullmatch(row[0].words) and row[1].x - row[0].x > row[0].size:
        row = row[1:]
    first, *rest = row
    words = _MARK.sub("", first.words)
    if len(rest) == 1 and words:
        second = rest[0]._replace(words=_MARK.sub("", rest[0].words))
        return Line(number, first.x, first.y, first.size, words, second=second)
    words = " ".join([words, *(_MARK.sub("", piece.words) for piece in rest)]).strip()
    return Line(number, first.x, first.y, first.size, words) if words.strip("* ") else None


def _without_furniture(lines: list[Line], heights: dict[int, float]) -> list[Line]:
    """Lines but page numbers and what stands in the margin of several pages, numbers apart."""

    def in_margin(line: Line) -> bool:
        return not _MARGIN <= line.y <= heights[line.page] - _MARGIN + 0.5 * line.size

    def form(line: Line) -> str:
        second = "" if line.second is None else line.second.words
        return re.sub(r"\d+", "#", f"{line.words} {second}").strip().lower()

    pages = [list(page) for _, page in groupby(lines, key=lambda line: line.page)]
    edges = {id(line) for page in pages for line in [*page[:2], *page[-2:]]}
    counts = Counter(form(line) for line in lines if id(line) in edges or in_margin(line))

    def is_furniture(line: Line) -> bool:
        edge = id(line) in edges
        if edge and line.second is None and _PAGE_NUMBER.fullmatch(line.words):
            return True
        if not (edge or in_margin(line)) or is_heading(line.words):
            return False
        return in_margin(line) if counts[form(line)] >= _OFTEN or _has_page_number(line) else False

    return [line for line in lines if not is_furniture(line)]


def _has_page_number(line: Line) -> bool:
    """Whether a line of a margin begins or ends with a number that stands alone, as headers do."""
    words = line.words if line.second is None else line.second.words
    return re.search(r"(?:^|\s)\d{1,3}[A-Z]?\.$", words) is not None


def _without_title_page(lines: list[Line]) -> list[Line]:
    """Lines without those of a first page that is a title's: few, none of them as wide as action, no heading."""
    pages = sorted({line.page for line in lines})
    if len(pages) < 2:
        return lines
    first = [line for line in lines if line.page == pages[0]]
    story = len(first) > 30 or any(len(line.words) > 55 or is_heading(line.words) for line in first)
    return lines if story or any(line.words.startswith("FADE IN") for line in first) else lines[len(first) :]


def _parted(lines: list[Line]) -> list[Line]:
    """Lines with ``parted`` set, by the distance between lines that is the most frequent small one."""
    steps = [a.y - b.y for a, b in pairwise(lines) if a.page == b.page and a.y > b.y]
    usual = Counter(round(step * 2) / 2 for step in steps).most_common(2)
    size = median(line.size for line in lines) if lines else 12.0
    leading = min((step for step, count in usual if count > 0.15 * len(steps)), default=size)
    out: list[Line] = []
    for line in lines:
        before = out[-1] if out else None
        close = before is not None and before.page == line.page and before.y - line.y < 1.4 * leading
        out.append(replace(line, parted=not close))
    return out

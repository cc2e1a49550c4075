"""Pages of a script: their numbers, running heads, ``(MORE)``, ``12 CONTINUED: (2) 12`` and revision marks.

All of it may stand within a speech or a paragraph, which then goes on below it: lines remember that a page ended.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

from megaseg.features.screenplay.script.emphasis import without_marks
from megaseg.features.screenplay.script.headings import is_heading
from megaseg.features.screenplay.script.lines import PAGE_BREAK, Line, indent_of
from megaseg.features.screenplay.script.speakers import is_cue

_LONGEST = 120  # characters of a line that is furniture
_FAR_RIGHT = 40  # columns; a number from here on is a page number also inside a speech
_FEWEST_PAGES = 3  # on which a running head stands, at least

_NUM = r"[A-Z]{0,2}\d{0,4}[A-Z]{0,2}(?:-[A-Z]{0,2}\d{1,4}[A-Z]{0,2})?[.)]?"
_NUMBER = re.compile(r"(?:PAGE |-\s?)?(?P<value>\d{1,3})[A-Z]{0,2}(?:\s?-)?\.?$", re.IGNORECASE)
_MORE = re.compile(r"[-–—(\[\s]{1,4}(?:MORE|SUITE|MÁS|MAS|MEHR|WEITER|SEGUE|ДАЛЬШЕ)[-–—)\]\s.]{1,4}$", re.IGNORECASE)
_CONTINUED = re.compile(
    rf"(?:{_NUM}\s{{0,80}})?(?:\(\s?(?:CONTINUED|CONTINÚA|FORTSETZUNG)(?:\s?:|:?\s[^()]{{1,30}})?\s?\)"
    r"|CONTINUED:?|Continued:|CONTINUED ON NEXT PAGE|CONT['’]D:?|CONTINUED\s?:[^:]{0,90})"
    r"(?:\s{0,4}\(\d{1,3}\))?(?:\s{0,80}\d[\dA-Z .*-]{0,12})?$"
)
_COLOUR = "WHITE|BLUE|PINK|YELLOW|GREEN|GOLD(?:EN)?(?:ROD)?|BUFF|SALMON|CHERRY|TAN|GREY|GRAY|IVORY|LAVENDER"
_DRAFT = re.compile(
    rf"\b(?:REV(?:\.|ISED|ISIONS?|S)?|DRAFT|(?:{_COLOUR})\s(?:REV(?:\.|ISED|ISIONS?)?|DRAFT|PAGES|SHOOTING)"
    rf"|(?:{_COLOUR})\)|SHOOTING SCRIPT)(?=$|[\s.:(,-])|\b(?:{_COLOUR})(?=\s\(?\d{{1,4}}[./-]\d)",
    re.IGNORECASE,
)
# Marks other than an asterisk, or more than one, far enough to the right to be in the margin.
_OTHER_MARK = re.compile(r"\s{4}(?:[∗＊+|†‡•#]{1,2}|\*(?:\d|\s\*|[A-Z]{1,12}\*?)|\\\*)$")
_DATE = re.compile(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}")
_PAGE_AT_END = re.compile(r"\s\d{1,3}[A-Z]?\.$|\s{3,80}\d{1,3}[A-Z]?\.?$")
_PROSE = re.compile(r"\b(?!of|the|by|and|de|pp|pgs?\b)[a-zà-ÿ]{2,20}\b")


def page_lines(lines: list[str]) -> list[Line]:
    """Lines without revision marks and page furniture; what follows a page's end says so, after a blank line."""
    lines = [line if line == PAGE_BREAK else without_revision_mark(line) if line.strip() else line for line in lines]
    heads, numbers = running_heads(lines), page_numbers(lines)
    found: list[Line] = []
    page = more = False
    for index, line in enumerate(lines):
        if index in numbers or line in heads or is_page_furniture(line):
            page, more = True, more or is_more(line)
            found.append(Line(""))
        elif line.strip():
            found.append(Line(line.strip(), indent_of(line), page, more))
            page = more = False
        else:
            found.append(Line(line))
    return found


def without_revision_mark(line: str) -> str:
    """A line without the marks of revised pages in its margins, mostly asterisks; emphasis that ends there stays."""
    line = line.rstrip()
    if line.startswith("*  "):
        line = f" {line[1:]}"
    if other := _OTHER_MARK.search(line):
        return line[: other.start()].rstrip()
    if line.endswith("(X)") and line[:-3].endswith("  "):
        return line[:-3].rstrip()
    if not line.endswith("*"):
        return line
    text = line.rstrip("*")
    marks = len(line) - len(text)
    if marks > 3 or (text and not text.endswith("  ") and "*" in text):
        return line
    return text.rstrip() if marks == 1 or not text or text.endswith(" ") else line


def is_more(line: str) -> bool:
    """``(MORE)``: the page ends within a speech."""
    return len(line) <= _LONGEST and _MORE.match(without_marks(line)) is not None


def is_page_furniture(line: str) -> bool:
    """True for what stands at the top or bottom of a page, in a speech or not."""
    bare = without_marks(line.strip())
    if line == PAGE_BREAK or (len(bare) > 2 and set(bare) == {"="}):
        return True
    if not bare or len(bare) > _LONGEST:
        return False
    far = indent_of(line) >= _FAR_RIGHT and _NUMBER.match(bare) is not None
    upper = bare.upper() if bare.startswith("(") else bare
    return far or is_more(bare) or _CONTINUED.match(upper) is not None or _is_page_head(line, bare)


def _is_page_head(line: str, bare: str) -> bool:
    """``Blue Rev. (01/02/03)   12.``: a draft with a date or a page number, and no sentence around it."""
    draft = _DRAFT.search(bare)
    if not draft or not (_DATE.search(bare) or _PAGE_AT_END.search(bare)):
        return False
    return _PROSE.search(_DRAFT.sub("", bare)) is None


def running_heads(lines: list[str]) -> set[str]:
    """Lines that stand at the top or bottom of page after page, such as a title with the page number behind it."""
    names = [_head_name(line) for line in lines]
    pages: dict[str, list[int]] = {}
    for line, name in zip(lines, names, strict=True):
        if name:
            pages.setdefault(name, []).append(int(re.findall(r"\d{1,4}", line)[-1]))
    found = {name for name, numbers in pages.items() if len(numbers) >= _FEWEST_PAGES and _rises(numbers)}
    found_lines = {line for line, name in zip(lines, names, strict=True) if name in found}
    return found_lines | _beside_pages(lines, found_lines)


def _head_name(line: str) -> str:
    """A line without the page number at its end, if it ends with one as a running head does."""
    end = _PAGE_AT_END.search(line) if len(line) <= _LONGEST else None
    if not end or is_heading(line):
        return ""
    name = line[: end.start()].strip()
    return name if any(c.isalpha() for c in name) else ""


def _rises(numbers: list[int]) -> bool:
    return all(before < after for before, after in pairwise(numbers))


def _beside_pages(lines: list[str], heads: set[str]) -> set[str]:
    """Lines that stand next to page numbers or breaks nearly every time, and often."""
    solid = [line for line in lines if line.strip()]
    pages = [line in heads or is_page_furniture(line) or _is_number(line) for line in solid]
    beside = Counter(
        line
        for index, line in enumerate(solid)
        if not pages[index] and len(line) <= _LONGEST and any(pages[max(0, index - 1) : index + 2])
    )
    total = Counter(solid)
    tops = {line for line, count in beside.items() if count >= _FEWEST_PAGES and count >= 0.9 * total[line]}
    alone = _alone(lines)
    return {line for line in tops & alone if not line.strip().endswith(")") and not is_heading(line)}


def _is_number(line: str) -> bool:
    return len(line) <= _LONGEST and _NUMBER.match(line.strip()) is not None


def page_numbers(lines: list[str]) -> set[int]:
    """Indices of page numbers: ``Page 12``, numbers between blank lines, and those that count through the script.

    A number right below a cue is an answer, and one right below another number a count.
    """
    solid = [index for index, line in enumerate(lines) if line.strip()]
    found: dict[int, int] = {}  # index of a line -> its number
    certain = set()
    for before, index in zip([-1, *solid], solid, strict=False):
        number = _NUMBER.match(lines[index].strip()) if len(lines[index]) <= _LONGEST else None
        below_cue = before >= 0 and is_cue(lines[before].strip())
        counted = lines[before] if before == index - 1 else ""
        if number and not (below_cue and before == index - 1) and not _is_number(counted):
            found[index] = int(number["value"])
            alone = index - before > 1 and not "".join(lines[index + 1 : index + 2]).strip()
            if (alone and not below_cue) or number[0].upper().startswith("PAGE"):
                certain.add(index)
    return certain | _longest_row(found)


def _longest_row(numbers: dict[int, int]) -> set[int]:
    """Indices of the longest row of numbers that rise by one to three each, if it is long enough for page numbers."""
    rows: dict[int, tuple[int, int]] = {}  # number -> length of the longest row that ends with it, index of its line
    before: dict[int, int] = {}  # index of a line -> that of the number before it in its row
    for index, number in numbers.items():
        length, before[index] = max(rows.get(number - step, (0, -1)) for step in (1, 2, 3))
        rows[number] = max(rows.get(number, (0, -1)), (length + 1, index))
    length, index = max(rows.values(), default=(0, -1))
    row = set()
    while length >= _FEWEST_PAGES and index >= 0:
        row.add(index)
        index = before[index]
    return row


def _alone(lines: list[str]) -> set[str]:
    """Lines with a blank line, a page break or the end of the script behind them every time."""
    followed = {line for line, after in pairwise(lines) if after.strip()}
    return {line for line in lines if line.strip()} - followed

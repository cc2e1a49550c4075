"""Title pages: ``Title: ...`` and other keys before the script, or a cover page in plain text."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

from megaseg.features.screenplay.script.emphasis import without_marks
from megaseg.features.screenplay.script.headings import is_heading
from megaseg.features.screenplay.script.lines import PAGE_BREAK, indent_of
from megaseg.features.screenplay.script.speakers import is_cue
from megaseg.features.screenplay.script.transitions import is_transition

_KEY = re.compile(r"(?P<key>[^\W\d_][\w #/.'’&()-]{0,40}?)\s{0,3}[:：](?!//)")
# A key is known by one of its words.
_KNOWN = """
title subtitle credit credits author authors writer writers written source draft date contact copyright revision
revised version wga notes based watermark font format language episode series season production company studio
producer director directed screenplay teleplay story adaptation adapted logline genre email phone address agent
rights license created creator header footer tl tc tr cc bl br
titre auteur auteurs auteure scénario écrit réalisation réalisateur titel autor autoren autorin drehbuch
fassung regie título titulo autores autora guion guión dirección roteiro titolo autore sceneggiatura regia tytuł
scenariusz tittel forfatter författare titul scenář otsikko kirjoittaja название автор сценарий режиссёр режиссер
タイトル 題名 作者 脚本 标题 標題 編劇 编剧
"""
_WORDS = frozenset(_KNOWN.split())
_CARD = frozenset(("card", "over"))  # TITLE CARD: "1945"
_CENTRED = 10  # columns before a title that stands alone, at least
_MOST_LINES = 80  # of a cover page
_LONGEST = 70  # characters of its lines
_BY = re.compile(
    r"(?:(?:original )?(?:screen|tele)?play|screenplay|story|adaptation|adapted|based (?:up)?on|created|an original|by$"
    r"|(?:re)?written|revised|directed|revisions?|(?:first|second|third|final|shooting|production|revised) draft|draft"
    r"|(?-i:[Bb]y|BY) (?-i:[A-ZÀ-Þ])\w{0,40}|an? screenplay|escrit[oa] por|(?:un )?(?:scénario|gui[oó]n|film (?:de|di))"
    r"|drehbuch|(?:ein )?film von|una película de|сценарий|автор)\b",
    re.IGNORECASE,
)


def without_title_page(lines: list[str]) -> list[str]:
    """Lines of the script proper."""
    start = next((i for i, line in enumerate(lines) if line.strip() and line != PAGE_BREAK), len(lines))
    if start < len(lines) and lines[start] == "---":
        start = _end_of_front_matter(lines, start)
    margin = " " * (indent_of(lines[start]) if start < len(lines) else 0)  # of a page that is indented as a whole
    end = _end_of_keys([line.removeprefix(margin) for line in lines], start) or _end_of_cover(lines, start)
    return lines[end or start :]


def _end_of_front_matter(lines: list[str], start: int) -> int:
    """Index after YAML between two ``---``, as Markdown files begin; that of the first if there is none."""
    for at in range(start + 1, min(len(lines), start + _MOST_LINES)):
        if lines[at] in ("---", "..."):
            return at + 1
        if lines[at] and not lines[at][0].isspace() and not _key(lines[at]) and lines[at][0] not in "-#":
            break
    return start


def _key(line: str) -> str:
    """Key of a line ``Key: value``, lower case; empty for headings and transitions."""
    found = _KEY.match(without_marks(line.rstrip())[:200])
    if not found or line[:1].isspace() or is_heading(line) or is_transition(line.strip()):
        return ""
    return found["key"].lower().strip()


def _is_known(key: str) -> bool:
    words = re.split(r"[\W_]", key)
    return not _WORDS.isdisjoint(words) and _CARD.isdisjoint(words)


def _end_of_keys(lines: list[str], start: int) -> int:
    """Index after a title page of keys that begins at a line; 0 if there is none."""
    keys: list[str] = []
    at, end = start, 0  # end: index after the last line that belongs to the page
    while at < len(lines):
        line = lines[at]
        key = _key(line)
        if key and (_is_known(key) or not keys or (at and lines[at - 1].strip())):
            keys.append(key)
        elif line.strip() and not _is_value(lines, at, end):
            break
        at += 1
        end = at if line.strip() else end
    known = any(map(_is_known, keys)) and (_is_known(keys[0]) or len(keys) > 1)
    return end if known or _is_foreign(lines, keys, end) else 0


def _is_value(lines: list[str], at: int, end: int) -> bool:
    """Whether a line goes on with a key's value: right below it, or indented as the last line, a blank line apart."""
    line, last = lines[at], lines[end - 1] if end else ""
    if is_heading(line) or set(line.strip()) == {"="} or not end:
        return False
    return bool(lines[at - 1].strip()) or (line[0].isspace() and indent_of(line) == indent_of(last))


def _is_foreign(lines: list[str], keys: list[str], end: int) -> bool:
    """Keys in a language that is not known: two or more, each once in the script, not in capitals, then a heading."""
    after = next((line for line in lines[end:] if line.strip() and set(line.strip()) != {"="}), "")
    if len(keys) < 2 or not (is_heading(after) or is_transition(after.strip())):
        return False
    every = Counter(filter(None, map(_key, lines)))
    capitals = any(_key(line) and line.split(":")[0].isupper() for line in lines[:end])
    return not capitals and all(every[key] == 1 for key in keys)


def _end_of_cover(lines: list[str], start: int) -> int:
    """Index after a cover page in plain text: short lines that name the writers, before a heading or ``FADE IN:``.

    A title alone is one where it is centred.
    """
    for at in range(start, min(len(lines), start + _MOST_LINES)):
        text = lines[at].strip()
        if is_heading(text) or (text and is_transition(text)):
            cover = [line.strip() for line in lines[start:at]]
            alone = [line for line in lines[start:at] if line.strip()]
            named = any(map(_names_writers, cover)) or (len(alone) == 1 and _is_title(alone[0]))
            return at if named and not _has_speech(cover) else 0
        if len(text) > _LONGEST and not _names_writers(text):
            return 0
    return 0


def _names_writers(text: str) -> bool:
    return _BY.match(text) is not None and text[-1] not in ".!?"  # Draft horses pull a cart.


def _is_title(line: str) -> bool:
    return indent_of(line) >= _CENTRED and line.upper() == line and line[-1] not in ".!?:"


def _has_speech(cover: list[str]) -> bool:
    return any(
        is_cue(line) and after and not _BY.match(after) and after.upper() != after for line, after in pairwise(cover)
    )

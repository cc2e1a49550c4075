"""Notes ``[[ ]]`` and boneyards ``/* */``: parts of a script that are no part of its story."""

from __future__ import annotations

import re

_OPENING = re.compile(r"/\*|\[\[")
_CLOSING = {"/*": "*/", "[[": "]]"}
_CUT = "\0"  # where something was taken out; no line holds it otherwise


def without_notes(lines: list[str]) -> list[str]:
    """Lines without notes and boneyards; those that nothing closes are text.

    A boneyard may hold blank lines, a note only blank lines of two spaces. Of two boneyards in a row the first of
    which never ends, the second is one. A line that held nothing else vanishes, so that a note inside a speech does not
    end the speech.
    """
    text = "\n".join(lines)
    ends = {mark: _Finder(text, mark) for mark in ("/*", *_CLOSING.values(), "\n\n")}
    kept, begin, place = [], 0, 0
    while opening := _OPENING.search(text, place):
        closing = ends[_CLOSING[opening[0]]].after(opening.end())
        blank = ends["\n\n"].after(opening.end())
        stray = opening[0] == "[[" or blank < ends["/*"].after(opening.end()) < closing
        if closing < 0 or (stray and 0 <= blank < closing):
            place = opening.end()
            continue
        # What follows a boneyard of several paragraphs on a line of its own begins another one.
        apart = 0 <= blank < closing and text[closing + 2 : closing + 3] == "\n"
        kept += [text[begin : opening.start()], f"{_CUT}\n\n{_CUT}" if apart else _CUT]
        begin = place = closing + 2
    return [
        line.replace(_CUT, "")
        for line in "".join([*kept, text[begin:]]).split("\n")
        if _CUT not in line or line.replace(_CUT, "").strip()
    ]


class _Finder:
    """Places of one mark in a text, asked for from left to right: linear in the text, however often it is asked."""

    def __init__(self, text: str, mark: str) -> None:
        self._text, self._mark, self._next = text, mark, text.find(mark)

    def after(self, place: int) -> int:
        """First place of the mark at or after a place; -1 if there is none."""
        if 0 <= self._next < place:
            self._next = self._text.find(self._mark, place)
        return self._next

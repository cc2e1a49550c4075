"""Fountain's emphasis: ``*italic*``, ``**bold**``, ``***both***``, ``_underlined_``, and ``\\*`` for the character."""

from __future__ import annotations

import re

_TOKEN = re.compile(r"\\[*_]|\*{1,3}|_")


def without_marks(line: str) -> str:
    """A line without any mark of emphasis, paired or not: what headings and transitions are recognised by."""
    return line.replace("*", "").replace("_", "").strip() if "*" in line or "_" in line else line


def without_emphasis(text: str) -> str:
    """Text without the marks that form pairs, in one pass; a mark that is escaped or has no partner stays."""
    pieces: list[str] = []  # text and marks in turn
    opened: dict[str, int] = {}  # mark -> index in pieces of the last one that may open
    place = 0
    for token in _TOKEN.finditer(text):
        pieces += [text[place : token.start()], token[0]]
        place = token.end()
        if token[0].startswith("\\"):
            pieces[-1] = token[0][1]
        elif _closes(text, token) and (partners := _partners(token[0], opened)):
            for mark in (token[0], *partners):
                pieces[opened.pop(mark, -1)] = ""
            pieces[-1] = ""
        elif _opens(text, token):
            opened[token[0]] = len(pieces) - 1
    return "".join([*pieces, text[place:]])


def _partners(mark: str, opened: dict[str, int]) -> tuple[str, ...]:
    """Open marks that a closing mark ends: its like, or both of ``**bold *and italic***``."""
    if mark in opened:
        return (mark,)
    return ("**", "*") if mark == "***" and "*" in opened and "**" in opened else ()


def _opens(text: str, token: re.Match[str]) -> bool:
    after = text[token.end() : token.end() + 1]
    before = text[max(0, token.start() - 1) : token.start()]
    return bool(after.strip()) and not (token[0] == "_" and before.isalnum())


def _closes(text: str, token: re.Match[str]) -> bool:
    before = text[max(0, token.start() - 1) : token.start()]
    after = text[token.end() : token.end() + 1]
    return bool(before.strip()) and not (token[0] == "_" and after.isalnum())

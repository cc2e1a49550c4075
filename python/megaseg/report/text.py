"""Text of users for people to read: file names, titles and the words of scripts may hold any character."""

from __future__ import annotations

import unicodedata

_BREAKS = "\u2028\u2029"
_DIRECTIONS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}  # classes of bidirectional controls
_MARKS = "\u061c\u200e\u200f"  # of direction


def visible(text: str) -> str:
    r"""A text on one line whose control characters are shown as escapes, such as ``\x1b``, and act on nothing.

    Those are C0 and C1 controls, line separators, marks and overrides of the writing direction, and the surrogates that
    stand for the undecodable bytes of a file name, which no stream could print.
    """
    return "".join(_escaped(character) if _acts(character) else character for character in text)


def _acts(character: str) -> bool:
    if " " <= character <= "~":
        return False
    return (
        unicodedata.category(character) in ("Cc", "Cs")
        or unicodedata.bidirectional(character) in _DIRECTIONS
        or character in _BREAKS + _MARKS
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def clock(seconds: float) -> str:
    """Hours, minutes and tenths of seconds, such as 1:02:03.4."""
    tenths = round(abs(seconds) * 10)
    minutes, rest = divmod(tenths, 600)
    sign = "-" if seconds < 0 and tenths else ""
    return f"{sign}{minutes // 60}:{minutes % 60:02}:{rest // 10:02}.{rest % 10}"

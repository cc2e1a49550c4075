"""Texts of users in files of other programs: what a format cannot say is replaced."""

from __future__ import annotations

import os
import re
from urllib.parse import quote

from megaseg.engine.results.source import beginning

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# What XML 1.0 has not, and C1 controls: C0 but tab, line feed and return, surrogates, and two that are no characters.
_IMPOSSIBLE = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def characters(text: str) -> str:
    """The text with a replacement character for every one that files of text and XML 1.0 cannot hold."""
    return _IMPOSSIBLE.sub(REPLACEMENT, text)


def quoted(path: str) -> str:
    """A path of a file as part of a URL, bytes that are no text included."""
    try:
        return quote(os.fsencode(path))
    except UnicodeEncodeError:  # not from a file system
        return quote(characters(path))


def one_line(text: str) -> str:
    """``characters`` on one line: breaks and tabs become blanks, and blanks come singly."""
    return " ".join(characters(re.sub(r"[\v\f\x1c-\x1e\x85\u2028\u2029]", " ", text)).split())


def shortened(text: str, letters: int) -> str:
    """The ``beginning`` of a text on one line."""
    return beginning(one_line(text), letters)

"""Plain text: a time a line, first of what stands there; YouTube's chapters and Kodi's lists are such as well."""

from __future__ import annotations

import re
from fractions import Fraction

from megaseg.errors import FeatureError
from megaseg.evaluation.boundaries.clock import Counting, Span, seconds


def fits(text: str) -> bool:
    """Any text but XML may be one."""
    return not text.startswith("<")


def read(text: str, counting: Counting) -> list[Span]:
    """A part from 0 on, and one from each time on; lines that begin with ``#`` are passed over.

    Raises:
        FeatureError: a line that begins with no time; names it.
    """
    starts = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                starts.append(seconds(_first(line)))
            except FeatureError as error:
                raise FeatureError(f"line {number}: {error}") from error
    return [(start, None) for start in (Fraction(0), *starts)] if starts else []


def _first(line: str) -> str:
    """What stands before the first blank, bar or semicolon, without a comma at its end."""
    return re.split(r"[\s;|]", line.strip(), maxsplit=1)[0].rstrip(",")

"""ffmetadata: chapters as ffmpeg writes them."""

from __future__ import annotations

import re
from fractions import Fraction

from megaseg.errors import FeatureError
from megaseg.evaluation.boundaries.clock import Counting, Span

_FIELD = re.compile(r"^(TIMEBASE|START|END)\s*=\s*(-?\d{1,18}(?:/[1-9]\d{0,17})?)\s*$", re.MULTILINE | re.IGNORECASE)


def fits(text: str) -> bool:
    """The first line names the format."""
    return text.startswith(";FFMETADATA")


def read(text: str, counting: Counting) -> list[Span]:
    """Chapters, in nanoseconds where they have no time base.

    Raises:
        FeatureError: a chapter without a start.
    """
    spans = []
    for number, section in enumerate(re.split(r"^\[CHAPTER\]\s*$", text, flags=re.MULTILINE)[1:], 1):
        own = {name.upper(): Fraction(value) for name, value in _FIELD.findall(re.split(r"(?m)^\[", section)[0])}
        if "START" not in own:
            raise FeatureError(f"chapter {number}: expected START=, got none")
        base = own.get("TIMEBASE", Fraction(1, 10**9))
        spans.append((own["START"] * base, own["END"] * base if "END" in own else None))
    return spans

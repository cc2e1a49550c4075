"""OGM: chapters as ``CHAPTER01=00:00:00.000``."""

from __future__ import annotations

import re

from megaseg.evaluation.boundaries.clock import Counting, Span, seconds

_CHAPTER = re.compile(r"^\s*CHAPTER\d+\s*=\s*([\d:.,]+)\s*$", re.MULTILINE | re.IGNORECASE | re.ASCII)


def fits(text: str) -> bool:
    """A line of a chapter's start."""
    return _CHAPTER.search(text) is not None


def read(text: str, counting: Counting) -> list[Span]:
    """Starts of chapters.

    Raises:
        FeatureError: a start that is no time.
    """
    return [(seconds(start), None) for start in _CHAPTER.findall(text)]

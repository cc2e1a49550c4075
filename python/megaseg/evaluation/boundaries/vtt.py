"""WebVTT: a track of chapters."""

from __future__ import annotations

import re

from megaseg.evaluation.boundaries.clock import Counting, Span, seconds

_CUE = re.compile(r"^((?:\d+:)?\d\d:\d\d\.\d{3})[ \t]+-->[ \t]+((?:\d+:)?\d\d:\d\d\.\d{3})", re.MULTILINE | re.ASCII)


def fits(text: str) -> bool:
    """The first line names the format."""
    return text.startswith("WEBVTT")


def read(text: str, counting: Counting) -> list[Span]:
    """Cues."""
    return [(seconds(start), seconds(end)) for start, end in _CUE.findall(text)]

"""Subtitles: lines of text with times, embedded in a film or in a file beside it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SubtitleLine:
    """One line as shown: milliseconds from the start of the presentation, and plain text."""

    start_ms: int
    end_ms: int
    text: str

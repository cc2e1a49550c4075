"""Final Cut Pro 7: clips of the first track of pictures in its XML."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from megaseg.errors import FeatureError
from megaseg.evaluation.boundaries.clock import Counting, Span
from megaseg.evaluation.boundaries.xml_root import root_of


def fits(text: str) -> bool:
    """The outermost element has the format's name."""
    return re.search(r"<xmeml[\s>/]", text[:4096]) is not None


def read(text: str, counting: Counting) -> list[Span]:
    """Clips by their frames on the sequence; one that a transition begins goes on from the clip before.

    Raises:
        FeatureError: no such XML, no sequence, or a clip without its frames.
    """
    sequence = next(root_of(text).iter("sequence"), None)
    track = None if sequence is None else sequence.find("media/video/track")
    if sequence is None or track is None:
        raise FeatureError("expected a sequence with a track of pictures, got none")
    rate = _rate(sequence.find("rate"))
    spans: list[Span] = []
    for number, clip in enumerate(track.findall("clipitem"), 1):
        try:
            start, end = (int(clip.findtext(name) or "") for name in ("start", "end"))
        except ValueError as error:
            raise FeatureError(f"clip {number}: expected frames as start and end, got none") from error
        begin = spans[-1][1] if start < 0 and spans else start / rate
        spans.append((begin or Fraction(0), end / rate if end >= 0 else None))
    return spans


def _rate(element: Any) -> Fraction:
    base = "" if element is None else element.findtext("timebase") or ""
    if not base.isascii() or not base.isdigit() or not 0 < int(base[:9]) < 10**6:
        raise FeatureError(f"expected a timebase, got {base!r:.40}")
    ntsc = (element.findtext("ntsc") or "").strip().upper() == "TRUE"
    return Fraction(int(base)) * (Fraction(1000, 1001) if ntsc else 1)

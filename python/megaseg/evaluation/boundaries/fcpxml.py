"""FCPXML: clips of the first sequence of Final Cut Pro."""

from __future__ import annotations

import re
from fractions import Fraction

from megaseg.errors import FeatureError
from megaseg.evaluation.boundaries.clock import Counting, Span
from megaseg.evaluation.boundaries.xml_root import root_of

_TIME = re.compile(r"(-?\d{1,18}(?:/[1-9]\d{0,17})?)s", re.ASCII)


def fits(text: str) -> bool:
    """The outermost element has the format's name."""
    return re.search(r"<fcpxml[\s>/]", text[:4096]) is not None


def read(text: str, counting: Counting) -> list[Span]:
    """Clips of the sequence's spine, from its own start; gaps count as time only.

    Raises:
        FeatureError: no such XML, or no sequence.
    """
    sequence = next(root_of(text).iter("sequence"), None)
    spine = None if sequence is None else sequence.find("spine")
    if sequence is None or spine is None:
        raise FeatureError("expected a sequence with clips, got none")
    origin, end = _seconds(sequence.get("tcStart", "0s")), Fraction(0)
    spans: list[Span] = []
    for clip in spine:
        if "duration" not in clip.attrib or clip.tag == "transition":
            continue
        begin = _seconds(clip.get("offset")) - origin if "offset" in clip.attrib else end
        end = begin + _seconds(clip.get("duration"))
        if clip.tag != "gap":
            spans.append((begin, end))
    return spans


def _seconds(text: str) -> Fraction:
    found = _TIME.fullmatch(text)
    if found is None:
        raise FeatureError(f"expected a time such as 1001/24000s, got {text!r:.40}")
    return Fraction(found[1])

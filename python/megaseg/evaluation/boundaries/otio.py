"""OpenTimelineIO: clips of the first track of pictures."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

from megaseg.errors import FeatureError
from megaseg.evaluation.boundaries.clock import Counting, Span
from megaseg.media.timecode import snapped


def fits(text: str) -> bool:
    """JSON that names its schema at the start."""
    return text.startswith("{") and '"OTIO_SCHEMA"' in text


def read(text: str, counting: Counting) -> list[Span]:
    """Clips; gaps count as time only.

    Raises:
        FeatureError: no timeline with such a track.
    """
    try:
        tracks = json.loads(text)["tracks"]["children"]
        track = next(track for track in tracks if track.get("kind") == "Video")
        spans: list[Span] = []
        at = Fraction(0)
        for item in track["children"]:
            if item["OTIO_SCHEMA"].startswith("Transition."):
                continue
            begin, at = at, at + _duration(item)
            if not item["OTIO_SCHEMA"].startswith("Gap."):
                spans.append((begin, at))
    except (
        LookupError,
        TypeError,
        ValueError,
        ArithmeticError,
        AttributeError,
        RecursionError,
        StopIteration,
    ) as error:
        raise FeatureError(f"expected a timeline with a track of pictures, got: {error!r:.80}") from error
    return spans


def _duration(item: Any) -> Fraction:
    own = (item.get("source_range") or item["media_reference"]["available_range"])["duration"]
    return Fraction(own["value"]) / snapped(Fraction(own["rate"]))

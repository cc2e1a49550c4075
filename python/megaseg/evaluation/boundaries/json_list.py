"""JSON: a list of seconds."""

from __future__ import annotations

import json

from megaseg.errors import FeatureError
from megaseg.evaluation.boundaries.clock import Counting, Span, seconds


def fits(text: str) -> bool:
    """A JSON array."""
    return text.startswith("[")


def read(text: str, counting: Counting) -> list[Span]:
    """A part from 0 on, and one from each number on.

    Raises:
        FeatureError: another array.
    """
    try:
        values = json.loads(text, parse_float=str, parse_int=str)
    except (ValueError, RecursionError) as error:
        raise FeatureError(f"expected a list of seconds, got: {error}") from error
    for value in values:
        if not isinstance(value, str):
            raise FeatureError(f"expected a list of seconds, got {value!r:.40} in it")
    return [(start, None) for start in (seconds("0"), *map(seconds, values))]

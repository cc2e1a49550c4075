"""``.edl``: CMX 3600, whose record times are times of the film."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from megaseg.errors import FeatureError
from megaseg.media.shots.lists.clock import FilmClock

_TIME = r"(\d{1,2}:\d\d:\d\d[:;.,]\d{2,3})"
_EVENT = re.compile(rf"(\d+)\s+(.+?)\s+{_TIME}\s+{_TIME}\s+{_TIME}\s+{_TIME}(?:\s.*)?")
_EDIT = re.compile(r"(?P<track>\S+)\s+(?P<kind>C|D|W\d+|KB?|KO)(?!\S)(?:\s+(?P<length>\d+))?")


Number = Callable[[str, bool], int]
"""The number of a timecode, which is drop-frame where the list says so."""


def read(text: str, film: FilmClock) -> NDArray[np.int64]:
    """Shots (n, 2) between the events of the picture; a dissolve or wipe is cut in its middle.

    Times count from the film's own timecode, or 0; where its first event would then lie behind the film's end, from
    the first event.

    Raises:
        FeatureError: an event that cannot be read, or none; names the line.
    """
    drop, found = events(text, lambda timecode, drop: film.number(timecode, drop=drop))
    origin = film.number(film.timecode, drop=drop) if film.timecode else 0
    if not origin <= found[0][0] < origin + film.frames:
        origin = found[0][0]
    spans = [(film.counted(start - origin), film.counted(end - origin) - 1) for start, end in found]
    return np.array(spans, np.int64).reshape(-1, 2)


def events(text: str, number: Number) -> tuple[bool, list[tuple[int, int]]]:
    """Whether a list is drop-frame, and start and end of its events of the picture, cut in the middle of transitions.

    Raises:
        FeatureError: an event that cannot be read, or none; names the line.
    """
    drop, found = False, []
    for place, line in enumerate(text.splitlines(), 1):
        if line.upper().startswith("FCM:"):
            drop = "NON" not in line.upper()
        elif re.match(r"\d+\s", line):
            try:
                found += _event(line, number, drop)
            except FeatureError as error:
                raise FeatureError(f"line {place}: {error}") from error
    if not found:
        raise FeatureError("expected events of CMX 3600, got none")
    starts = [begin + length // 2 for begin, _, length in found]
    ends = [end for _, end, _ in found]
    # The shot before a dissolve lasts to the middle of the dissolve, beyond its own event.
    ends[:-1] = [after if later[2] else end for end, after, later in zip(ends[:-1], starts[1:], found[1:], strict=True)]
    return drop, list(zip(starts, ends, strict=True))


def _event(line: str, number: Number, drop: bool) -> list[tuple[int, int, int]]:
    """Record start, record end and length of the transition; nothing for sound and for events of no length."""
    found = _EVENT.fullmatch(line.strip())
    edit = found and _EDIT.search(found[2])
    if not found or not edit:
        raise FeatureError(f"expected an event of CMX 3600, got {line[:80]!r}")
    begin, end = (number(found[group], drop) for group in (5, 6))
    if end <= begin or not re.search(r"V|B", edit["track"].upper()):
        return []
    return [(begin, end, 0 if edit["kind"] == "C" else int(edit["length"] or 0))]

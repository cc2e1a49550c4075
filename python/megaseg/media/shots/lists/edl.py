"""``.edl``: CMX 3600, whose record times are times of the film."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from megaseg.errors import FeatureError
from megaseg.media.shots.lists.clock import FilmClock

_TIME = r"(\d{1,2}:\d\d:\d\d[:;.,]\d{2,3})"
_EVENT = re.compile(rf"(\d+)\s+(.+?)\s+{_TIME}\s+{_TIME}\s+{_TIME}\s+{_TIME}(?:\s.*)?")
_EDIT = re.compile(r"(?P<track>\S+)\s+(?P<kind>C|D|W\d+|KB?|KO)(?!\S)(?:\s+(?P<length>\d+))?")


def read(text: str, film: FilmClock) -> NDArray[np.int64]:
    """Shots (n, 2) between the events of the picture; a dissolve or wipe is cut in its middle.

    Times count from the film's own timecode, or 0; where its first event would then lie behind the film's end, from
    the first event.

    Raises:
        FeatureError: an event that cannot be read, or none; names the line.
    """
    drop, events = False, []
    for number, line in enumerate(text.splitlines(), 1):
        if line.upper().startswith("FCM:"):
            drop = "NON" not in line.upper()
        elif re.match(r"\d+\s", line):
            try:
                events += _event(line, film, drop)
            except FeatureError as error:
                raise FeatureError(f"line {number}: {error}") from error
    if not events:
        raise FeatureError("expected events of CMX 3600, got none")
    origin = film.number(film.timecode, drop=drop) if film.timecode else 0
    if not origin <= events[0][0] < origin + film.frames:
        origin = events[0][0]
    starts = [begin - origin + length // 2 for begin, _, length in events]
    ends = [end - origin for _, end, _ in events]
    # The shot before a dissolve lasts to the middle of the dissolve, beyond its own event.
    ends[:-1] = [
        after if later[2] else end for end, after, later in zip(ends[:-1], starts[1:], events[1:], strict=True)
    ]
    spans = [(film.counted(start), film.counted(end) - 1) for start, end in zip(starts, ends, strict=True)]
    return np.array(spans, np.int64).reshape(-1, 2)


def _event(line: str, film: FilmClock, drop: bool) -> list[tuple[int, int, int]]:
    """Record start, record end and length of the transition; nothing for sound and for events of no length."""
    found = _EVENT.fullmatch(line.strip())
    edit = found and _EDIT.search(found[2])
    if not found or not edit:
        raise FeatureError(f"expected an event of CMX 3600, got {line[:80]!r}")
    begin, end = (film.number(found[group], drop=drop) for group in (5, 6))
    if end <= begin or not re.search(r"V|B", edit["track"].upper()):
        return []
    return [(begin, end, 0 if edit["kind"] == "C" else int(edit["length"] or 0))]

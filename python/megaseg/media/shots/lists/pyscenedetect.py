"""``.csv``: the list of PySceneDetect's ``list-scenes``, whose frames count from 1."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from megaseg.errors import FeatureError
from megaseg.media.shots.lists.clock import FilmClock

FRAMES = ("Start Frame", "End Frame")
SECONDS = ("Start Time (seconds)", "End Time (seconds)")
COLUMNS = (
    *("Scene Number", "Start Frame", "Start Timecode", "Start Time (seconds)", "End Frame", "End Timecode"),
    *("End Time (seconds)", "Length (frames)", "Length (timecode)", "Length (seconds)"),
)


def read(text: str, film: FilmClock) -> NDArray[np.int64]:
    """Shots (n, 2) of a table with start and end as frames or seconds; a row of cuts before the header is passed over.

    Frames are taken where the film's rate is constant, else seconds where there are any.

    Raises:
        FeatureError: no such header, or a row without its numbers; names the line.
    """
    rows = [row for row in enumerate(csv.reader(io.StringIO(text), delimiter=_separator(text)), 1) if any(row[1])]
    headers = [
        (place, [cell.strip().lower() for cell in row])
        for place, (_, row) in enumerate(rows[:2])
        if any(cell.strip().lower() == "scene number" or cell.strip() in FRAMES + SECONDS for cell in row)
    ]
    if not headers:
        raise FeatureError(f"expected a header with {FRAMES[0]!r} and {FRAMES[1]!r}, got none")
    place, header = headers[0]
    known = [names for names in (FRAMES, SECONDS) if all(name.lower() in header for name in names)]
    if not known:
        raise FeatureError(f"expected columns {' and '.join(FRAMES)} or {' and '.join(SECONDS)}, got {header}")
    names = known[0] if film.even else known[-1]
    columns = [header.index(name.lower()) for name in names]
    spans = [_span(number, row, columns, names, film) for number, row in rows[place + 1 :]]
    return np.array(spans, np.int64).reshape(-1, 2)


def _span(
    line: int, row: Sequence[str], columns: Sequence[int], names: tuple[str, str], film: FilmClock
) -> tuple[int, int]:
    try:
        start, end = (float(row[column]) for column in columns)
        if not math.isfinite(start + end) or (names is FRAMES and not (start % 1 == end % 1 == 0)):
            raise ValueError
    except (IndexError, ValueError) as error:
        raise FeatureError(f"line {line}: expected numbers as {' and '.join(names)}, got {row}") from error
    if names is SECONDS:
        return film.frame(start), film.frame(end) - 1
    return film.counted(int(start) - 1), film.counted(int(end)) - 1


def _separator(text: str) -> str:
    """The separator of the table: that which the header has most of."""
    header = next((line for line in text.splitlines()[:2] if "frame" in line.lower() or "time (" in line.lower()), "")
    return max(",;\t", key=header.count)


def write(shots: NDArray[np.int64], film: FilmClock) -> str:
    output = io.StringIO()
    table = csv.writer(output, lineterminator="\n")
    table.writerow(COLUMNS)
    for number, (first, last) in enumerate(shots.tolist(), 1):
        start, end = film.seconds(first), film.seconds(last + 1)
        table.writerow(
            [
                *[number, first + 1, film.timecode_of(start), f"{start:.3f}"],
                *[last + 1, film.timecode_of(end), f"{end:.3f}"],
                *[last + 1 - first, film.timecode_of(end - start), f"{end - start:.3f}"],
            ]
        )
    return output.getvalue()

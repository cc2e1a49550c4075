"""CSV: tables with the columns of PySceneDetect's list, such as our own."""

from __future__ import annotations

import csv
import io

from megaseg.errors import FeatureError
from megaseg.evaluation.boundaries.clock import Counting, Span, seconds
from megaseg.media.shots.lists.pyscenedetect import SECONDS


def fits(text: str) -> bool:
    """A header with the column of starts in one of the first two lines."""
    return any(SECONDS[0].lower() in line.lower() for line in text.splitlines()[:2])


def read(text: str, counting: Counting) -> list[Span]:
    """Rows below the header, by their seconds.

    Raises:
        FeatureError: a row without its seconds; names it.
    """
    lines = text.splitlines()
    place = next(number for number, line in enumerate(lines[:2]) if SECONDS[0].lower() in line.lower())
    rows = csv.reader(io.StringIO("\n".join(lines[place:])), delimiter=max(",;\t", key=lines[place].count))
    header = [cell.strip().lower() for cell in next(rows)]
    columns = [header.index(name.lower()) for name in SECONDS if name.lower() in header]
    spans = []
    for number, row in enumerate(rows, place + 2):
        if not any(row):
            continue
        try:
            start, *end = (seconds(row[column].strip()) for column in columns)
        except (IndexError, FeatureError) as error:
            raise FeatureError(f"line {number}: expected {' and '.join(SECONDS)}, got {row!r:.80}") from error
        spans.append((start, end[0] if end else None))
    return spans

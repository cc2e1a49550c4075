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
    header, rows = _table(text)
    columns = [header.index(name.lower()) for name in SECONDS if name.lower() in header]
    spans = []
    for number, row in enumerate(rows, 1):
        if not any(row):
            continue
        try:
            start, *end = [seconds(row[column].strip()) for column in columns]
        except (IndexError, FeatureError) as error:
            raise FeatureError(f"row {number}: expected {' and '.join(SECONDS)}, got {row!r:.80}") from error
        spans.append((start, end[0] if end else None))
    return spans


def _table(text: str) -> tuple[list[str], list[list[str]]]:
    """Header, in small letters, and the rows below it."""
    lines = text.splitlines()
    place = next(number for number, line in enumerate(lines[:2]) if SECONDS[0].lower() in line.lower())
    separator = max(",;\t", key=lines[place].count)
    try:
        header, *rows = csv.reader(io.StringIO("\n".join(lines[place:])), delimiter=separator)
    except csv.Error as error:
        raise FeatureError(f"expected a table, got: {error}") from error
    names = [cell.strip().lower() for cell in header]
    if SECONDS[0].lower() not in names:
        raise FeatureError(f"expected a column {SECONDS[0]!r}, got {header!r:.80}")
    return names, rows

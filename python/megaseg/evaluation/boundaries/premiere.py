"""Premiere Pro: its list of markers, as a table."""

from __future__ import annotations

import csv
import io

from megaseg.errors import FeatureError
from megaseg.evaluation.boundaries.clock import Counting, Span

_COLUMNS = ("In", "Out", "Marker Type")


def fits(text: str) -> bool:
    """A header with the columns of markers."""
    header = text.partition("\n")[0]
    return all(name in header for name in _COLUMNS)


def read(text: str, counting: Counting) -> list[Span]:
    """Starts of comments that last, which scenes are where ``export`` wrote the list; of all markers without such.

    Raises:
        FeatureError: no frame rate, or a row without its timecodes; names it.
    """
    separator = max(",;\t", key=text.partition("\n")[0].count)
    try:
        rows = list(csv.DictReader(io.StringIO(text), delimiter=separator))
    except csv.Error as error:
        raise FeatureError(f"expected a table of markers, got: {error}") from error
    markers = []
    for number, row in enumerate(rows, 1):
        try:
            begin, end = (counting.number(row.get(name) or "") for name in _COLUMNS[:2])
        except FeatureError as error:
            raise FeatureError(f"row {number}: {error}") from error
        markers.append((begin, row.get("Marker Type") == "Comment" and end > begin))
    lasting = [begin for begin, scene in markers if scene]
    return counting.of_markers(lasting or [begin for begin, _ in markers])

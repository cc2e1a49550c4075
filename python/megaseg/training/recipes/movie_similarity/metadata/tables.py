"""Rows of CSV tables, plain or compressed with gzip."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from megaseg.errors import FeatureError

Row = tuple[int, list[str]]  # the line on which it ends, and its cells


def header_of(path: Path) -> list[str]:
    """Cells of the first line, in lower case.

    Raises:
        FeatureError: an unreadable or empty table.
    """
    for _, cells in _rows(path):
        return [cell.strip().lower() for cell in cells]
    raise FeatureError(f"{path}: expected a CSV table, got an empty file")


def rows_of(path: Path, columns: Sequence[str], *, header: bool = True) -> Iterator[Row]:
    """Rows of as many cells as ``columns``, without the line that names them.

    Args:
        path: of a CSV file in UTF-8; ``.gz`` is decompressed.
        columns: their names, of which the first line must be one.
        header: whether that line must be there; else it is left out where it is.

    Raises:
        FeatureError: an unreadable file, another header, or a row of another number of cells; names the line.
    """
    wanted = [name.lower() for name in columns]
    if (found := header_of(path)) != wanted and header:
        raise FeatureError(f"{path}: expected the header {','.join(columns)}, got {','.join(found)!r:.80}")
    for number, (line, cells) in enumerate(_rows(path)):
        if number == 0 and found == wanted:
            continue
        if len(cells) != len(columns):
            raise FeatureError(
                f"{path}: line {line}: expected {len(columns)} cells ({','.join(columns)}), got {len(cells)}"
            )
        yield line, cells


def _rows(path: Path) -> Iterator[Row]:
    """Rows that are not empty."""
    try:
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield reader.line_num, cells
    except (OSError, UnicodeDecodeError, csv.Error, EOFError, zlib.error) as error:
        raise FeatureError(f"{path}: expected a CSV table in UTF-8, got: {error}") from error

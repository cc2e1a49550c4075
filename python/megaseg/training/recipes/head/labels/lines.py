"""Lines of a file of labels."""

from __future__ import annotations

from pathlib import Path

from megaseg.errors import FeatureError


def read_lines(path: Path) -> list[str]:
    """Lines of a UTF-8 file.

    Raises:
        FeatureError: an unreadable or empty file.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FeatureError(f"{path}: expected a UTF-8 file of labels, got: {error}") from error
    if not any(line.strip() for line in lines):
        raise FeatureError(f"{path}: expected a file of labels, got an empty one")
    return lines

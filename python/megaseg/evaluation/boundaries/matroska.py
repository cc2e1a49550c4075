"""Matroska: chapters in XML."""

from __future__ import annotations

import re
from typing import Any

from megaseg.errors import FeatureError
from megaseg.evaluation.boundaries.clock import Counting, Span, seconds
from megaseg.evaluation.boundaries.xml_root import root_of


def fits(text: str) -> bool:
    """Chapters stand in an element of that name."""
    return re.search(r"<Chapters[\s>/]", text[:4096]) is not None


def read(text: str, counting: Counting) -> list[Span]:
    """Chapters of the first edition that have none within them.

    Raises:
        FeatureError: no such XML, or a chapter without a start.
    """
    edition = root_of(text).find("EditionEntry")
    atoms = (
        [] if edition is None else [atom for atom in edition.iter("ChapterAtom") if atom.find("ChapterAtom") is None]
    )
    return [_span(number, atom) for number, atom in enumerate(atoms, 1)]


def _span(number: int, atom: Any) -> Span:
    start, end = ((atom.findtext(f"ChapterTime{name}") or "").strip() for name in ("Start", "End"))
    try:
        return seconds(start), seconds(end) if end else None
    except FeatureError as error:
        raise FeatureError(f"chapter {number}: {error}") from error

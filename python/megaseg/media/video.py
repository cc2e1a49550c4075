"""``Video``: a film's file as a source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Video:
    """A film that is decoded when it is segmented."""

    name: str
    path: Path

"""Which films a table knows, and remarks on those that it does not."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from megaseg.errors import FeatureError

_SHOWN = 3


def shown(names: Iterable[str]) -> str:
    """The first names of a list."""
    own = list(names)
    return ", ".join(own[:_SHOWN]) + (", ..." if len(own) > _SHOWN else "")


def known_films(path: Path, names: Sequence[str], known: Collection[str], what: str) -> tuple[list[str], list[str]]:
    """The films that metadata says something of, in order, and a remark where these are not all.

    Args:
        path: of the metadata.
        names: of the films.
        known: names that the metadata has.
        what: of a film it tells, for the remark.

    Raises:
        FeatureError: fewer than two of the films are known.
    """
    there = [name for name in names if name in known]
    absent = [name for name in names if name not in known]
    if len(there) < 2:
        raise FeatureError(
            f"{path}: expected {what} of at least 2 of the {len(names)} films, got {len(there)}; the films are named "
            f"{shown(names)}"
        )
    remarks = (
        [f"{len(absent)} of {len(names)} films have no {what} and are left out: {shown(absent)}"] if absent else []
    )
    return there, remarks


def unknown_remark(count: int, what: str) -> list[str]:
    """A remark on metadata of films that are not there."""
    return [f"{count:,} {what} of films that are not there were not read"] if count else []

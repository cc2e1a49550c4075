"""The kinds of screenplay files, by name: their suffixes, and which of them a folder is searched for."""

from __future__ import annotations

import os
from dataclasses import dataclass

from megaseg.errors import FeatureError


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of file; ``in_folders`` are the suffixes that no other sort of file bears."""

    name: str
    suffixes: tuple[str, ...]
    in_folders: tuple[str, ...] = ()


KINDS = {
    kind.name: kind
    for kind in (
        Kind("fountain", (".fountain", ".spmd", ".md"), in_folders=(".fountain", ".spmd")),
        Kind("text", (".txt",)),
        Kind("fdx", (".fdx",), in_folders=(".fdx",)),
        Kind("pdf", (".pdf",)),
        Kind("jsonl", (".jsonl", ".jsonl.gz")),  # of many screenplays
    )
}
SUFFIXES = tuple(suffix for kind in KINDS.values() for suffix in kind.suffixes)
IN_FOLDERS = tuple(suffix for kind in KINDS.values() for suffix in kind.in_folders)


def kind_of(path: str | os.PathLike[str]) -> str | None:
    """The kind that a file's name says, in letters of any case; None where it says none."""
    name = os.fspath(path).lower()
    return next((kind.name for kind in KINDS.values() if name.endswith(kind.suffixes)), None)


def known_kind(name: str) -> str:
    """The name of a kind, checked.

    Raises:
        FeatureError: not one of them; lists them.
    """
    if name not in KINDS:
        raise FeatureError(f"kind: expected one of {', '.join(KINDS)}, got {name!r:.40}")
    return name

"""How results become files: the package sets a writer of all formats here, which the engine itself does not import."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Writer = Callable[..., None]
"""Takes a result, a path, the name of a format or None, and the format's options."""

_writers: list[Writer] = []


def set_writer(writer: Writer) -> None:
    """Have ``write_file`` use this writer."""
    _writers[:] = [writer]


def write_file(result: Any, path: Any, format: str | None, **options: Any) -> None:
    """Write a result to a file."""
    _writers[0](result, path, format, **options)

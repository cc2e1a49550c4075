"""Files that editors, players and ad servers take, one format a module."""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from megaseg.engine.inputs.files import atomic_write
from megaseg.engine.results.segmentation import Segmentation
from megaseg.errors import FeatureError
from megaseg.export.formats import Format
from megaseg.export.timeline import Timeline

__all__ = ["Format", "Timeline", "export", "format_of", "formats", "save"]

# Modules of this package, in the order in which users see their formats.
MODULES = (
    *("json_result", "csv_table"),
    *("ffmetadata", "matroska", "vtt", "ogm", "youtube"),
    *("edl", "resolve", "otio", "fcp7", "fcpxml", "premiere", "avid"),
    *("kodi", "jellyfin"),
    *("ads.cues", "ads.vmap", "ads.hls", "ads.scte35"),
)


@cache
def formats() -> tuple[Format, ...]:
    """Every format that can be written."""
    return tuple(import_module(f"{__name__}.{module}").FORMAT for module in MODULES)


def format_of(name: str | os.PathLike[str]) -> Format:
    """The format of this name, or the one whose suffix, the longest that fits, a file's name has.

    Raises:
        FeatureError: none.
    """
    text = os.fspath(name)
    named = [one for one in formats() if one.name == text]
    ends = [one for one in formats() if text.lower().endswith(one.suffix)]
    if not named and not ends:
        known = ", ".join(f"{one.name} ({one.suffix})" for one in formats())
        raise FeatureError(f"format: expected one of {known}, got {text!r:.200}")
    return named[0] if named else max(ends, key=lambda one: len(one.suffix))


def export(result: Segmentation, name: str | os.PathLike[str], **options: Any) -> bytes:
    """A result as a file of a format, in memory; ``options`` are those of ``Timeline.of``.

    Raises:
        FeatureError: an unknown format, or a result or options that it cannot say.
    """
    return format_of(name).render(Timeline.of(result, **options))


def save(result: Segmentation, path: str | os.PathLike[str], format: str | None = None, **options: Any) -> None:
    """Write a result as the format that is named or that the path's suffix says: the whole file or none.

    ``options`` are those of ``Timeline.of``; the title is the file's name where none is given.

    Raises:
        FeatureError: an unknown format, or a result or options that it cannot say.
        OSError: the file cannot be written.
    """
    chosen = format_of(path if format is None else format)
    name = Path(path).name
    title = name[: -len(chosen.suffix)] if name.lower().endswith(chosen.suffix) else Path(name).stem
    data = chosen.render(Timeline.of(result, **{"title": title or None, **options}))
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)

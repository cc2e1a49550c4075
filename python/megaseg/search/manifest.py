"""The manifest of an index: which files are its segments, and where in them each title's scenes are.

One JSON file, replaced as a whole, says all that a reader believes: what it does not name is not there. It bears its
own checksum and that of every file.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from megaseg.engine.inputs.files import atomic_write, sha256, what_is_there
from megaseg.errors import SearchIndexError

FORMAT = "megaseg.index/1"
MANIFEST = "index.json"
SEGMENTS = "segments"  # the folder of all other files
KINDS = {"vectors": ".vectors.npy", "scenes": ".scenes.npy", "graph": ".graph"}  # suffixes; a graph may be missing
_NAME = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of a segment: its length and its SHA-256."""

    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> FileEntry:
        """The entry of a file as it is."""
        return cls(path.stat().st_size, sha256(path).hexdigest())


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """A segment of so many ``rows``, and its files by their kind."""

    rows: int
    files: Mapping[str, FileEntry]


@dataclass(frozen=True, slots=True)
class TitleEntry:
    """A title: its scenes are rows ``first`` to ``first + scenes - 1`` of a segment.

    ``shots`` is its number of shots, ``time_base`` the seconds of a tick of its times, "" where it has none. ``source``
    is the file that it was read from, ``content`` a digest that changes with that file and with how scenes were found,
    and ``found`` says how: ``labels``, ``results``, or the name of a model.
    """

    segment: str
    first: int
    scenes: int
    shots: int
    time_base: str
    source: str
    content: str
    found: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """An index of one encoder: the digest of its function, the checkpoint that it was, and the width of its vectors."""

    encoder: str
    checkpoint: str
    width: int
    segments: Mapping[str, SegmentEntry] = field(default_factory=dict)
    titles: Mapping[str, TitleEntry] = field(default_factory=dict)

    @property
    def num_scenes(self) -> int:
        """Scenes of all titles."""
        return sum(title.scenes for title in self.titles.values())

    def live(self, segment: str) -> int:
        """Rows of a segment that are some title's."""
        return sum(title.scenes for title in self.titles.values() if title.segment == segment)

    def write(self, folder: Path) -> None:
        """Replace the folder's manifest, whole or not at all."""
        values = {"format": FORMAT, **asdict(self)}
        with atomic_write(folder / MANIFEST) as temporary:
            temporary.write_text(json.dumps({**values, "sha256": _checksum(values)}), encoding="utf-8")


def segment_file(folder: Path, name: str, kind: str) -> Path:
    """The file of a segment, of one of ``KINDS``."""
    return folder / SEGMENTS / f"{name}{KINDS[kind]}"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an index.

    Raises:
        SearchIndexError: no index, or one that is damaged or of another version.
    """
    path = folder / MANIFEST
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        got = "a folder without one" if folder.is_dir() else what_is_there(folder)
        raise SearchIndexError(f"{folder}: expected an index of scenes, got {got}") from error
    try:
        values = json.loads(text)
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise ValueError(f"no {FORMAT}")
        given = values.pop("sha256", None)
        if given != _checksum(values):
            raise ValueError("its checksum is another one")
        return _checked(values)
    except (ArithmeticError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SearchIndexError(
            f"{path}: expected the manifest of an index, whole and as it was written: {error}; remove {folder} and "
            "index its titles again"
        ) from error


def _checksum(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _checked(values: Mapping[str, Any]) -> Manifest:
    """A manifest whose titles lie in its segments.

    Raises:
        ValueError, KeyError, TypeError: it is none.
    """
    segments = {
        name: SegmentEntry(own["rows"], {kind: FileEntry(**file) for kind, file in own["files"].items()})
        for name, own in values["segments"].items()
    }
    for name, segment in segments.items():
        _expect(_NAME.fullmatch(name) is not None, f"segment {name!r:.40}")
        _expect({"vectors", "scenes"} <= set(segment.files) <= set(KINDS), f"files of segment {name}")
    titles = {name: TitleEntry(**own) for name, own in values["titles"].items()}
    taken: dict[str, list[tuple[int, int]]] = {name: [] for name in segments}
    for name, title in titles.items():
        _expect(title.segment in segments and title.first >= 0 and title.scenes > 0, f"title {name!r:.40}")
        taken[title.segment].append((title.first, title.first + title.scenes))
        if title.time_base:
            _expect(Fraction(title.time_base) > 0, f"time_base of {name!r:.40}")
    for name, spans in taken.items():
        end = 0
        for first, after in sorted(spans):
            _expect(first >= end, f"titles of segment {name}")
            end = after
        _expect(end <= segments[name].rows, f"rows of segment {name}")
    width = values["width"]
    _expect(isinstance(width, int) and width > 0, "width")
    return Manifest(values["encoder"], values["checkpoint"], width, segments, titles)


def _expect(fine: bool, what: str) -> None:
    if not fine:
        raise ValueError(f"{what} is not as expected")

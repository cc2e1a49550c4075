"""Sources of movies: what a name, a path or an object in memory is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from megaseg.engine.inputs.feature_files import as_features, load_features, resolve_features
from megaseg.engine.inputs.features import Features
from megaseg.engine.inputs.files import what_is_there
from megaseg.errors import FeatureError
from megaseg.features.screenplay import kinds
from megaseg.features.screenplay.files import read_screenplays
from megaseg.features.screenplay.screenplay import Screenplay
from megaseg.features.screenplay.signatures import seems_to_be
from megaseg.media.video import Video

FEATURE_FILES = (".npz", ".safetensors")
COLLECTIONS = kinds.KINDS["jsonl"].suffixes  # of many screenplays
SCREENPLAYS = tuple(suffix for suffix in kinds.SUFFIXES if suffix not in COLLECTIONS)
VIDEOS = (
    *(".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".mxf", ".wmv", ".flv"),
    *(".ogv", ".3gp", ".vob", ".y4m", ".divx", ".asf"),
)
IN_FOLDERS_TEXT = ", ".join(("films", *FEATURE_FILES, *kinds.IN_FOLDERS))
IN_FOLDERS = (*FEATURE_FILES, *VIDEOS, *kinds.IN_FOLDERS)  # what a folder is searched for: a .txt in it may be anything


class Source(Protocol):
    """One movie that is not read yet, or that some extractor reads (``features.RECIPES``): it has a name."""

    @property
    def name(self) -> str:
        """The movie's name, for messages and results."""
        ...


@dataclass(frozen=True, slots=True)
class FeatureFile:
    """A feature file, opened when its movie is segmented."""

    name: str
    path: Path


def find_files(name: str | os.PathLike[str], kind: str | None = None) -> list[str | os.PathLike[str]]:
    """The files behind a name: those of a folder that ``find_sources`` takes, hidden ones left out, else the one named.

    Raises:
        FeatureError: a folder without any.
    """
    path = Path(name)
    if not path.is_dir():
        return [name]
    wanted = IN_FOLDERS if kind is None else kinds.KINDS[kinds.known_kind(kind)].suffixes
    seen = (file for file in path.iterdir() if not file.name.startswith("."))
    files = sorted(file for file in seen if file.name.lower().endswith(wanted))
    if not files:
        named = IN_FOLDERS_TEXT if kind is None else ", ".join(wanted)
        raise FeatureError(f"{path}: expected {named} files in the folder, got none")
    return [*files]


def find_sources(name: str | os.PathLike[str], kind: str | None = None) -> list[Source]:
    """Every movie behind a name, as ``iter_sources`` gives them.

    Raises:
        FeatureError: as ``iter_sources``.
    """
    return list(iter_sources(name, kind))


def iter_sources(name: str | os.PathLike[str], kind: str | None = None) -> Iterator[Source]:
    """Every movie behind a name: a film, a feature file or shipped sample, a screenplay, a file of them, or a folder.

    ``kind`` is one of ``kinds.KINDS`` and says that all of them are screenplays of that kind; None goes by suffixes, in
    letters of any case. A folder is searched for the suffixes of the kind, else for ``IN_FOLDERS``.

    Raises:
        FeatureError: nothing of that name, a folder without movies, or a screenplay that cannot be read.
    """
    path = Path(name)
    if path.is_dir():
        for file in find_files(path, kind):
            yield from iter_sources(file, kind)
        return
    if kind is not None or kinds.kind_of(path) is not None:
        yield from read_screenplays(path, kind)
        return
    if path.suffix.lower() in VIDEOS:
        if not path.is_file():
            raise FeatureError(f"{path}: expected a film, got {what_is_there(path)}")
        yield Video(path.stem, path)
        return
    file = resolve_features(name)
    if file.suffix.lower() not in FEATURE_FILES:
        others = ", ".join((*FEATURE_FILES, *kinds.SUFFIXES))
        expected = f"a film ({', '.join(VIDEOS[:3])} and the like), features or a screenplay ({others})"
        raise FeatureError(f"{path}: expected {expected}, got {seems_to_be(file) or file.suffix or 'no suffix'}")
    yield FeatureFile(file.stem, file)


def find_source(name: str | os.PathLike[str]) -> Source:
    """The one movie behind a name.

    Raises:
        FeatureError: several movies, or as ``find_sources``.
    """
    found = find_sources(name)
    if len(found) != 1:
        raise FeatureError(f"{os.fspath(name)}: expected one movie, got {len(found)}")
    return found[0]


def open_source(source: Any) -> Features | Source:
    """One movie ready for a pipeline: its features, or a source that some extractor reads.

    ``source`` is a name or path as ``find_source`` takes it, what that gave, ``Features``, or a mapping of modality to
    array.

    Raises:
        FeatureError: no movie, several movies, or features that cannot be read.
    """
    if isinstance(source, (str, os.PathLike)):
        source = find_source(source)
    if isinstance(source, FeatureFile):
        return load_features(source.path)
    if isinstance(source, (Screenplay, Video)):
        return source
    return as_features(source)


def location(source: Any) -> str:
    """What messages call a source of features: its path, or what it was given as."""
    if isinstance(source, (FeatureFile, Video)):
        return str(source.path)
    return os.fspath(source) if isinstance(source, (str, os.PathLike)) else "features"

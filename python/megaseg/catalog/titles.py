"""From inputs to titles: a folder, a file of one movie, a Parquet list, or the same in object storage. Paths only."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

from megaseg.catalog.storage import is_url, open_storage
from megaseg.errors import FeatureError, MegasegError, UnsupportedError
from megaseg.pipelines.sources import FEATURE_FILES, IN_FOLDERS, IN_FOLDERS_TEXT, SCREENPLAYS, VIDEOS

ONE_MOVIE = (*FEATURE_FILES, *VIDEOS, *SCREENPLAYS)
_LONGEST = 220  # bytes of a name: its result has a suffix, and while it is written a prefix; file systems take 255


def find_titles(inputs: Iterable[str], *, path_column: str = "path") -> dict[str, str]:
    """Absolute path or URL of each title's file, a film, features or a screenplay, by title.

    A title is the file's path below its input without the suffix, so that equal names in two folders stay two titles.
    In a Parquet list it is the column ``title``; without one, a relative path (which starts at the list) without its
    suffix, or a whole one without scheme and root too. In folders, names that start with a dot are left out, and so are
    ``.txt``, ``.md`` and ``.pdf`` files, which may be anything. Suffixes are in letters of any case.

    Raises:
        FeatureError: an input that is not there or holds no movie, a title twice, or one that cannot be the
            name of a result.
        UnsupportedError: an extra or a storage package that is not there.
    """
    titles: dict[str, str] = {}
    for name in inputs:
        before = len(titles)
        with _named(name):
            for title, path in _titles(name, path_column):
                _check(title, path)
                if title in titles:
                    raise FeatureError(f"title {title!r}: expected one file, got {titles[title]} and {path}")
                titles[title] = path
        if len(titles) == before:
            raise FeatureError(f"{name}: expected {IN_FOLDERS_TEXT} files, got none")
    return titles


def _titles(name: str, path_column: str) -> Iterator[tuple[str, str]]:
    files, path = open_storage(name) if is_url(name) else (None, name)
    is_file = files.isfile(path) if files else os.path.isfile(path)
    if name.lower().endswith(".parquet") and is_file:
        yield from _from_parquet(name, files.open(path) if files else path, path_column)
    elif is_file:
        if not name.lower().endswith(ONE_MOVIE):
            kinds = ", ".join((*FEATURE_FILES, *SCREENPLAYS))
            raise FeatureError(f"{name}: expected a folder, a film, or a {kinds} or .parquet file")
        yield PurePosixPath(name).stem, name if files else os.path.abspath(name)
    elif files:
        for found in files.find(path):
            title = found[len(path) :].strip("/")
            if found.lower().endswith(IN_FOLDERS) and not any(part.startswith(".") for part in title.split("/")):
                yield _without_suffix(title), files.unstrip_protocol(found)
    elif os.path.isdir(path):
        yield from _from_folder(os.path.abspath(path))
    else:
        raise FeatureError(
            f"{name}: expected a folder, a film, a feature file, a screenplay or a Parquet list, got none of that name"
        )


def _from_folder(root: str) -> Iterator[tuple[str, str]]:
    def refuse(error: OSError) -> None:
        raise error  # a folder that cannot be read is not an empty one

    for folder, folders, files in os.walk(root, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.lower().endswith(IN_FOLDERS) and not name.startswith("."):
                path = os.path.join(folder, name)
                yield _without_suffix(os.path.relpath(path, root)), path


def _from_parquet(name: str, source: Any, path_column: str) -> Iterator[tuple[str, str]]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise UnsupportedError(
            f"{name}: Parquet lists need the extra fleet: pip install 'megaseg[fleet]' ({error})"
        ) from error
    with parquet.ParquetFile(source) as table:
        columns = [column for column in (path_column, "title") if column in table.schema_arrow.names]
        if path_column not in columns:
            raise FeatureError(
                f"{name}: expected the column {path_column!r} (path_column) of files, got {table.schema_arrow.names}"
            )
        for batch in table.iter_batches(columns=columns):
            for row in batch.to_pylist():
                yield _listed(name, row[path_column], row.get("title"))


def _listed(name: str, path: Any, title: Any) -> tuple[str, str]:
    if not isinstance(path, str) or not isinstance(title, (str, type(None))):
        raise FeatureError(f"{name}: expected paths and titles as text, got {path!r:.60} and {title!r:.60}")
    plain = path.split("://", 1)[-1]
    title = _without_suffix(plain.lstrip("/")) if title is None else title
    if is_url(path) or os.path.isabs(path):
        return title, path
    beside = f"{name.rpartition('/')[0] or '.'}/{path}"
    return title, beside if is_url(name) else os.path.abspath(beside)


def _without_suffix(path: str) -> str:
    return str(PurePosixPath(path).with_suffix(""))


def _check(title: str, path: str) -> None:
    """A title is the path of its result, and must stay inside the folder of results."""
    parts = title.split("/")
    if any(part == "" or part.startswith(".") or len(os.fsencode(part)) > _LONGEST for part in parts) or "\0" in title:
        raise FeatureError(
            f"{path}: expected a title of names that are not empty, start with no dot and have up to {_LONGEST} bytes, "
            f"got {title!r:.300}"
        )
    if title == "catalog":
        raise FeatureError(f"{path}: the title 'catalog' would overwrite the run's own catalog.json; rename the file")


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Errors of storage and Parquet, with the input's name."""
    try:
        yield
    except MegasegError:
        raise
    except Exception as error:
        raise FeatureError(f"{name}: expected readable input, got: {error or type(error).__name__}") from error

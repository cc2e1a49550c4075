"""Movies by path or URL; URLs go through fsspec, whose storage packages (s3fs, gcsfs) are the user's own."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from megaseg.engine.inputs.features import Features
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.features import Screenplay
from megaseg.pipelines.sources import VIDEOS, Source, open_source


def is_url(path: str) -> bool:
    """Whether fsspec is needed: ``s3://bucket/movie.npz``, not ``movies/movie.npz``."""
    return "://" in path


def open_storage(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it.

    Raises:
        UnsupportedError: no fsspec, or a protocol whose package is not installed.
        FeatureError: an unknown protocol, or a storage that refuses.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise UnsupportedError(f"{url}: URLs need the extra fleet: pip install 'megaseg[fleet]' ({error})") from error
    try:
        files, path = url_to_fs(url)
    except ImportError as error:  # fsspec knows the protocol and names the package
        raise UnsupportedError(f"{url}: {error}") from error
    except Exception as error:
        raise FeatureError(f"{url}: expected a URL that fsspec can open, got: {error}") from error
    return files, path


def read_source(path: str) -> Features | Source:
    """The movie of a file at a path or URL, ready for a pipeline: a film, features or a screenplay.

    A file at a URL is copied beside the process first, and removed; a film has to be a local file.

    Raises:
        FeatureError: names the path or URL, and what in it is not as expected.
        UnsupportedError: as ``open_storage``.
    """
    if not is_url(path):
        return open_source(path)
    if path.lower().endswith(VIDEOS):
        raise FeatureError(f"{path}: expected a film as a local file, got a URL; mount or copy the storage")
    files, source = open_storage(path)
    with tempfile.TemporaryDirectory(prefix="megaseg-") as folder:
        copy = Path(folder) / Path(source).name  # its stem is the movie's name
        try:
            files.get_file(source, str(copy))
        except Exception as error:
            raise FeatureError(f"{path}: expected a readable file, got: {error or type(error).__name__}") from error
        try:
            opened = open_source(copy)
        except FeatureError as error:
            raise FeatureError(str(error).replace(str(copy), path)) from error
    if isinstance(opened, Screenplay):
        return replace(opened, remarks=tuple(remark.replace(str(copy), path) for remark in opened.remarks))
    return opened

"""Whether a title has to be indexed again: a digest of its file, and of how its scenes are found."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from megaseg.catalog.storage import is_url, open_storage
from megaseg.engine.inputs.files import sha256
from megaseg.engine.model.checkpoint import resolve_checkpoint
from megaseg.errors import FeatureError
from megaseg.media.sidecars import find_sidecar
from megaseg.pipelines.sources import VIDEOS
from megaseg.search.describing import result_file, results_path

_EDGE = 1 << 20  # bytes of a film's start and end that are looked at


class Contents:
    """Digests of titles that are indexed in one way.

    Args:
        scenes: as of ``Describer``; a result counts with its title, a model with all.
        told: whatever else changes what is made, such as the detector of shots.
    """

    def __init__(self, scenes: str | None, **told: Any) -> None:
        self._results = results_path(scenes)
        model = None
        if scenes is not None and self._results is None:
            model = sha256(resolve_checkpoint(scenes)).hexdigest()
        self._told = [model, sorted((name, str(value)) for name, value in told.items())]

    def of(self, title: str, path: str) -> str:
        """The digest of a title's file, a path or URL.

        Raises:
            FeatureError: a file that cannot be read.
        """
        try:
            state = _url(path) if is_url(path) else _film(Path(path)) if path.lower().endswith(VIDEOS) else _file(path)
            result = None if self._results is None else _file(result_file(self._results, title)) or "not there"
        except OSError as error:
            raise FeatureError(f"{path}: expected a file that can be read, got: {error}") from error
        return hashlib.sha256(json.dumps([state, result, self._told]).encode()).hexdigest()


def _file(path: str | Path) -> str | None:
    return sha256(path).hexdigest() if Path(path).is_file() else None


def _film(path: Path) -> list[Any]:
    """Of a film, which is large, its size, its time, its edges, and the subtitles beside it."""
    state = path.stat()
    with path.open("rb") as file:
        head = file.read(_EDGE)
        file.seek(max(state.st_size - _EDGE, 0))
        edges = hashlib.sha256(head + file.read(_EDGE)).hexdigest()
    beside = find_sidecar(path)
    return [state.st_size, state.st_mtime_ns, edges, None if beside is None else _file(beside)]


def _url(path: str) -> str:
    files, source = open_storage(path)
    return str(files.ukey(source))

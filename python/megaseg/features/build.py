"""Screenplay files to a folder of feature files, one ``.npz`` a movie; a second run redoes only what changed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from megaseg.engine.inputs.feature_files import save_features
from megaseg.engine.inputs.files import atomic_write
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.features.screenplay.extractor import UNITS, ScreenplayExtractor
from megaseg.features.screenplay.files import read_screenplays
from megaseg.features.screenplay.screenplay import Screenplay

INDEX = "index.json"


@dataclass(frozen=True, slots=True)
class Built:
    """What became of one screenplay.

    ``status`` is ``written``, ``kept`` (up to date), ``empty`` (no blocks) or ``no scenes`` (asked for, not named).
    ``remarks`` are those of the screenplay.
    """

    name: str
    file: str | None
    status: str
    blocks: int
    scenes: int | None
    remarks: tuple[str, ...] = ()


def build_features(
    inputs: Sequence[str | Path | Screenplay],
    folder: str | Path,
    extractor: ScreenplayExtractor,
    *,
    unit: str = "block",
    kind: str | None = None,
    advance: Callable[[str, int], None] = lambda name, blocks: None,
) -> list[Built]:
    """Write features of every screenplay of ``inputs`` to ``folder``, one row per ``unit`` (``block`` or ``scene``).

    ``kind`` is that of every file, as ``read_screenplays`` takes it.
    Each file appears whole or not at all. A folder holds one unit: the other's files in it are written anew.
    ``advance(name, blocks)`` is called as blocks are done.

    Raises:
        FeatureError: an input that cannot be read or parsed, or two screenplays of the same name.
        UnsupportedError: a missing extra.
    """
    if unit not in UNITS:
        raise UnsupportedError(f"unit: expected one of {', '.join(UNITS)}, got {unit!r}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    index = _read_index(folder / INDEX)
    built: dict[str, Built] = {}
    for play in (play for given in inputs for play in _plays(given, kind)):
        file = file_name(play.name)
        if file in built:
            raise FeatureError(f"{play.name}: expected screenplays of different names, got two for {file}")
        if status := _unusable(play, unit):
            built[file] = _built(play, None, unit, status)
            continue
        digest = _digest(play, extractor.identity, unit)
        current = index.get(file) == digest and (folder / file).is_file()
        if current:
            advance(play.name, len(play.blocks))
        else:
            save_features(folder / file, extractor.read(play, partial(advance, play.name)).features(UNITS[unit]))
            index[file] = digest
            _write_index(folder / INDEX, index)
        built[file] = _built(play, file, unit, "kept" if current else "written")
    return list(built.values())


def _plays(given: str | Path | Screenplay, kind: str | None) -> Iterable[Screenplay]:
    return [given] if isinstance(given, Screenplay) else read_screenplays(given, kind)


def file_name(name: str) -> str:
    """A file name that every system takes: letters, digits, dot, dash and underscore."""
    return (re.sub(r"[^\w.-]+", "_", name).strip("._") or "screenplay") + ".npz"


def _unusable(play: Screenplay, unit: str) -> str:
    """The status of a screenplay that gives no rows; empty where it gives some."""
    if not play.blocks:
        return "empty"
    return "no scenes" if unit == "scene" and play.num_scenes < 2 else ""


def _built(play: Screenplay, file: str | None, unit: str, status: str) -> Built:
    scenes = None
    if file is not None and unit == "scene":
        scenes = play.num_scenes
    elif file is not None and play.labels is not None:
        scenes = int(play.labels.sum())
    return Built(play.name, file, status, len(play.blocks), scenes, play.remarks)


def _digest(play: Screenplay, identity: str, unit: str) -> str:
    marks = play.labels if unit == "block" else play.scenes
    content = [
        UNITS[unit],
        identity,
        [[b.kind, b.speaker, b.text] for b in play.blocks],
        None if marks is None else marks.tolist(),
        play.num_scenes if unit == "scene" else 0,
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _read_index(path: Path) -> dict[str, Any]:
    try:
        index = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}  # no index or a damaged one: every file is rebuilt
    return index if isinstance(index, dict) else {}


def _write_index(path: Path, index: dict[str, Any]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(index, indent=0, sort_keys=True))

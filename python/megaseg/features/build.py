"""Screenplay files to a folder of feature files, one ``.npz`` a movie; a second run redoes only what changed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
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
FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Built:
    """What became of one screenplay.

    ``status`` is ``written``, ``kept`` (up to date), ``empty`` (no blocks), ``no scenes`` (asked for, not named) or
    ``failed``, for which there is a ``reason``; an input that cannot be read has its path as ``name``.
    ``remarks`` are those of the screenplay.
    """

    name: str
    file: str | None
    status: str
    blocks: int
    scenes: int | None
    remarks: tuple[str, ...] = ()
    reason: str | None = None


def build_features(
    inputs: Sequence[str | Path | Screenplay],
    folder: str | Path,
    extractor: ScreenplayExtractor,
    *,
    unit: str = "block",
    kind: str | None = None,
    advance: Callable[[str, int], None] = lambda name, blocks: None,
) -> list[Built]:
    """Write features of every screenplay of ``inputs`` to ``folder``, one row per ``unit`` of ``UNITS``.

    ``kind`` is that of every file, as ``read_screenplays`` takes it.
    Each file appears whole or not at all. A folder holds one unit: the other's files in it are written anew.
    ``advance(name, blocks)`` is called as blocks are done. An input that cannot be read or parsed, and a screenplay
    whose file another one has already, fail without stopping the others.

    Raises:
        UnsupportedError: a missing extra, or an unknown unit.
    """
    if unit not in UNITS:
        raise UnsupportedError(f"unit: expected one of {', '.join(UNITS)}, got {unit!r}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    index = _read_index(folder / INDEX)
    taken: set[str] = set()
    built: list[Built] = []
    for play in _read_all(inputs, kind):
        if isinstance(play, Built):
            built.append(play)
            continue
        file = file_name(play.name)
        if file in taken:
            reason = f"{play.name}: expected screenplays of different names, got two for {file}"
            built.append(_failed(play.name, reason, len(play.blocks)))
            continue
        taken.add(file)
        try:
            status = _unusable(play, unit) or _write(play, folder, index, extractor, unit, partial(advance, play.name))
        except FeatureError as error:
            built.append(_failed(play.name, f"{play.name}: {error}", len(play.blocks)))
            continue
        built.append(_built(play, file if status in ("written", "kept") else None, unit, status))
    return built


def _read_all(inputs: Sequence[str | Path | Screenplay], kind: str | None) -> Iterator[Screenplay | Built]:
    """Screenplays of every input, and in place of what cannot be read its failure."""
    for given in inputs:
        try:
            yield from [given] if isinstance(given, Screenplay) else read_screenplays(given, kind)
        except (FeatureError, OSError) as error:
            yield _failed(str(given), str(error))


def _failed(name: str, reason: str, blocks: int = 0) -> Built:
    return Built(name, None, FAILED, blocks, None, reason=reason)


def _write(
    play: Screenplay,
    folder: Path,
    index: dict[str, Any],
    extractor: ScreenplayExtractor,
    unit: str,
    advance: Callable[[int], None],
) -> str:
    """Write a screenplay's file where it is not up to date; the status."""
    file = file_name(play.name)
    digest = _digest(play, extractor.identity, unit)
    if index.get(file) == digest and (folder / file).is_file():
        advance(len(play.blocks))
        return "kept"
    save_features(folder / file, extractor.read(play, advance).features(UNITS[unit]))
    index[file] = digest
    _write_index(folder / INDEX, index)
    return "written"


def file_name(name: str) -> str:
    """A file name that every system takes: letters, digits, dot, dash and underscore."""
    return (re.sub(r"[^\w.-]+", "_", name).strip("._") or "screenplay") + ".npz"


def _unusable(play: Screenplay, unit: str) -> str:
    """The status of a screenplay that gives no rows; empty where it gives some."""
    if not play.blocks:
        return "empty"
    return "no scenes" if unit != "block" and play.num_scenes < 2 else ""


def _built(play: Screenplay, file: str | None, unit: str, status: str) -> Built:
    scenes = None
    if file is not None and unit != "block":
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
        play.num_scenes if unit != "block" else 0,
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

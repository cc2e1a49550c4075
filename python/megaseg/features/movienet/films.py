"""The films of MovieNet-SSeg's label file: shots, the shots that end scenes, and the split."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.files import what_is_there
from megaseg.errors import FeatureError

SPLITS = ("train", "val", "test")
TIME_BASE = Fraction(1001, 24_000)  # seconds a frame, of every film


@dataclass(frozen=True, slots=True)
class Film:
    """A film: ``times`` int64 (shots, 2), first frame and the one after the last; ``labels`` uint8 (shots,) or None."""

    name: str
    split: str
    times: NDArray[np.int64]
    labels: NDArray[np.uint8] | None

    @property
    def milliseconds(self) -> NDArray[np.float64]:
        """Start and end of each shot (shots, 2) in ms."""
        return np.asarray(self.times * (1000 * float(TIME_BASE)), np.float64)


def read_films(path: Path, split: str | None = None) -> list[Film]:
    """The films of ``labels_shots.json``, also gzipped, in its order; those of one split, or all.

    An entry is ``{"split": "train" | "val" | "test", "shots": [[first, last], ...], "labels": [...] | null}``. Labels 1
    and -1 both mean that a scene ends after the shot; null, which a film's last shot has, that nothing is said.

    Raises:
        FeatureError: names the file, the film and what is not as expected.
    """
    entries = _read(path)
    films = [_film(path, name, entry) for name, entry in entries.items()]
    chosen = [film for film in films if split in (None, film.split)]
    if not chosen:
        raise FeatureError(f"{path}: expected films of split {split or 'train, val or test'}, got none")
    return chosen


def _read(path: Path) -> dict[str, Any]:
    expected = "a JSON object of films by IMDb id, also gzipped"
    if not path.is_file():
        raise FeatureError(f"{path}: expected {expected}, got {what_is_there(path)}")
    data = path.read_bytes()
    try:
        entries = json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    except (ValueError, OSError, EOFError) as error:
        raise FeatureError(f"{path}: expected {expected}, got: {error}") from error
    if not isinstance(entries, dict):
        raise FeatureError(f"{path}: expected {expected}, got {type(entries).__name__}")
    return entries


def _film(path: Path, name: str, entry: Any) -> Film:
    where = f"{path}: {name}"
    if Path(name).name != name or name in ("", ".", ".."):
        raise FeatureError(f"{path}: expected an id that can name a file, got {name!r}")
    if not isinstance(entry, dict) or entry.get("split") not in SPLITS:
        got = entry.get("split") if isinstance(entry, dict) else type(entry).__name__
        raise FeatureError(f"{where}: expected an object whose split is one of {', '.join(SPLITS)}, got {got!r}")
    times = _times(where, entry.get("shots"))
    return Film(name, entry["split"], times, _labels(where, entry.get("labels"), len(times)))


def _times(where: str, shots: Any) -> NDArray[np.int64]:
    """First and last frames, the last one inclusive, as half-open spans."""
    given = np.array(shots) if _pairs(shots) else np.zeros(0)
    if given.ndim != 2 or given.dtype.kind != "i" or not len(given):
        raise FeatureError(f"{where}: shots: expected pairs of first and last frame, got {shots!r:.60}")
    times: NDArray[np.int64] = given.astype(np.int64) + np.array([0, 1])
    wrong = np.flatnonzero((times[:, 1] <= times[:, 0]) | (times[:, 0] < np.append(0, times[:-1, 1])))
    if wrong.size:
        shot = int(wrong[0])
        raise FeatureError(f"{where}: shots: expected one after the other, got {given[shot].tolist()} at shot {shot}")
    return times


def _pairs(shots: Any) -> bool:
    return isinstance(shots, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in shots)


def _labels(where: str, given: Any, shots: int) -> NDArray[np.uint8] | None:
    if given is None or (isinstance(given, list) and all(label is None for label in given)):
        return None
    if not isinstance(given, list) or len(given) != shots:
        got = f"{len(given)}" if isinstance(given, list) else type(given).__name__
        raise FeatureError(f"{where}: labels: expected one for each of {shots} shots, got {got}")
    if other := [label for label in given if label not in (0, 1, -1, None)]:
        raise FeatureError(f"{where}: labels: expected 0, 1, -1 or null, got {other[0]!r}")
    return np.array([label in (1, -1) for label in given], np.uint8)

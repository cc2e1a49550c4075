"""``SceneIndex``: an index of scenes open for reading, whatever a writer does meanwhile."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.errors import FeatureError, SearchIndexError
from megaseg.search.manifest import MANIFEST, Manifest, TitleEntry, read_manifest
from megaseg.search.segment import NO_TIME, Segment, open_segment

State = tuple[int, ...]  # of the manifest's file
_TRIES = 20  # manifests that may be replaced while their files are opened


@dataclass(frozen=True, slots=True)
class Hit:
    """A scene of an index: its title, its number (from 1), its shots, its times, and its distance from what was asked.

    The distance is that of two vectors of unit length: 0 of the same, 2 of opposite ones. Ticks are of ``time_base``
    seconds; None of a title without times.
    """

    title: str
    scene: int
    first_shot: int
    last_shot: int
    start_ticks: int | None
    end_ticks: int | None
    time_base: Fraction | None
    distance: float
    source: str

    @property
    def seconds(self) -> tuple[float, float] | None:
        """Start and end in seconds."""
        if self.time_base is None or self.start_ticks is None or self.end_ticks is None:
            return None
        return float(self.start_ticks * self.time_base), float(self.end_ticks * self.time_base)

    def to_dict(self) -> dict[str, Any]:
        """Values of JSON."""
        values: dict[str, Any] = {"title": self.title, "scene": self.scene}
        values |= {"first_shot": self.first_shot, "last_shot": self.last_shot}
        if self.seconds is not None:
            values |= {"start_ticks": self.start_ticks, "end_ticks": self.end_ticks, "time_base": str(self.time_base)}
            values |= {"start_seconds": self.seconds[0], "end_seconds": self.seconds[1]}
        return {**values, "distance": round(self.distance, 6), "source": self.source}


class SceneIndex:
    """An open index. Its files are never changed, so that it stays as it was opened; ``current`` follows a writer."""

    def __init__(self, folder: Path, manifest: Manifest, segments: Mapping[str, Segment], state: State) -> None:
        """Made by ``open``; ``state`` is that of the manifest's file."""
        self.folder, self.manifest, self._segments, self._state = folder, manifest, segments, state
        own: dict[str, list[tuple[int, str]]] = {name: [] for name in segments}
        for name, title in manifest.titles.items():
            own[title.segment].append((title.first, name))
        sorted_titles = {name: sorted(titles) for name, titles in own.items()}
        self._firsts = {name: np.array([first for first, _ in titles]) for name, titles in sorted_titles.items()}
        self._names = {name: [title for _, title in titles] for name, titles in sorted_titles.items()}

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> SceneIndex:
        """Open an index, and check every byte of it.

        Raises:
            SearchIndexError: no index, or a damaged one.
            UnsupportedError: the index has graphs, and the extra ``search`` is missing.
        """
        return cls._opened(Path(folder), {})

    @classmethod
    def _opened(cls, folder: Path, known: Mapping[str, Segment]) -> SceneIndex:
        """The index as it is now; ``known`` segments are not opened again."""
        for last in (False,) * (_TRIES - 1) + (True,):
            state, manifest = _state(folder), read_manifest(folder)
            try:
                segments = {
                    name: known[name]
                    if name in known and known[name].entry == entry
                    else open_segment(folder, name, entry, manifest.width)
                    for name, entry in manifest.segments.items()
                }
            except FileNotFoundError as error:  # of a manifest that a writer has replaced meanwhile
                if last or state == _state(folder):
                    raise SearchIndexError(
                        f"{error.filename}: expected a file of the index, got no such file; index its titles again"
                    ) from error
                continue
            spans: dict[str, list[tuple[int, int]]] = {name: [] for name in segments}
            for title in manifest.titles.values():
                spans[title.segment].append((title.first, title.first + title.scenes))
            live = {name: segment.with_titles(spans[name]) for name, segment in segments.items()}
            return cls(folder, manifest, live, state)
        raise AssertionError

    def current(self) -> SceneIndex:
        """This index, or where a writer has replaced it the new one, of which only new files are read and checked.

        Raises:
            SearchIndexError: as ``open``.
        """
        return self if _state(self.folder) == self._state else self._opened(self.folder, self._segments)

    def title(self, name: str) -> TitleEntry:
        """A title's entry.

        Raises:
            FeatureError: no such title; names some that there are.
        """
        if name not in self.manifest.titles:
            some = ", ".join(sorted(self.manifest.titles)[:5]) or "none"
            count = len(self.manifest.titles)
            raise FeatureError(f"title: expected one of the {count} titles of the index ({some} ...), got {name!r:.80}")
        return self.manifest.titles[name]

    def scenes(self, name: str) -> NDArray[np.int64]:
        """Scenes (scenes, 4) of a title: first and last shot, start and end tick or ``NO_TIME``.

        Raises:
            FeatureError: as ``title``.
        """
        title = self.title(name)
        return np.array(self._segments[title.segment].scenes[title.first : title.first + title.scenes])

    def vectors(self, name: str) -> NDArray[np.float32]:
        """Vectors (scenes, width) of a title's scenes.

        Raises:
            FeatureError: as ``title``.
        """
        title = self.title(name)
        return np.array(self._segments[title.segment].vectors[title.first : title.first + title.scenes])

    def vector(self, name: str, scene: int) -> NDArray[np.float32]:
        """The vector (width,) of a title's scene, by its number from 1.

        Raises:
            FeatureError: as ``title``, or a scene that is not there.
        """
        count = self.title(name).scenes
        if not 1 <= scene <= count:
            raise FeatureError(f"scene: expected from 1 to {count} of {name}, got {scene}")
        found: NDArray[np.float32] = self.vectors(name)[scene - 1]
        return found

    def nearest(self, vector: NDArray[np.float32], count: int = 10, *, without: str | None = None) -> list[Hit]:
        """The ``count`` scenes whose vectors are nearest to one (width,), nearest first; fewer where there are fewer.

        Scenes of the title ``without`` are left out.

        Raises:
            FeatureError: a vector of another width or without length, no count, or an unknown title.
        """
        if count < 1:
            raise FeatureError(f"count: expected at least 1, got {count}")
        if vector.shape != (self.manifest.width,) or not np.isfinite(vector).all() or not vector.any():
            raise FeatureError(f"vector: expected {self.manifest.width} numbers that are not all 0, got {vector.shape}")
        unit = (vector / np.linalg.norm(vector.astype(np.float64))).astype(np.float32)
        own = None if without is None else self.title(without)
        hits: list[Hit] = []
        for name, segment in self._segments.items():
            left = (own.first, own.first + own.scenes) if own is not None and own.segment == name else (0, 0)
            rows, distances = segment.nearest(unit, count, left)
            hits += [self._hit(name, *pair) for pair in zip(rows.tolist(), distances.tolist(), strict=True)]
        return sorted(hits, key=lambda hit: (hit.distance, hit.title, hit.scene))[:count]

    def _hit(self, segment: str, row: int, distance: float) -> Hit:
        place = int(np.searchsorted(self._firsts[segment], row, "right")) - 1
        name = self._names[segment][place]
        title = self.manifest.titles[name]
        first, last, start, end = self._segments[segment].scenes[row].tolist()
        timed = start != NO_TIME and title.time_base != ""
        return Hit(
            title=name,
            scene=row - title.first + 1,
            first_shot=first,
            last_shot=last,
            start_ticks=start if timed else None,
            end_ticks=end if timed else None,
            time_base=Fraction(title.time_base) if timed else None,
            distance=distance,
            source=title.source,
        )


def _state(folder: Path) -> State:
    """What changes whenever a manifest is replaced."""
    try:
        state = os.stat(folder / MANIFEST)
    except OSError:
        return ()
    return state.st_ino, state.st_size, state.st_mtime_ns

"""``IndexWriter``: adds titles to an index and removes them; a process killed at any moment leaves the index before.

Titles that are added become a segment. A segment is never changed: a title that is removed or replaced is dropped from
the manifest, and ``settle`` rewrites what has become small or empty.
"""

from __future__ import annotations

import dataclasses
import io
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.arrays import map_array, read_members
from megaseg.engine.inputs.files import locked
from megaseg.errors import FeatureError, OverloadedError, SearchIndexError
from megaseg.search.manifest import MANIFEST, SEGMENTS, Manifest, SegmentEntry, TitleEntry, read_manifest, segment_file
from megaseg.search.segment import EXACT, NO_TIME, Part, add_graph, check_segment, write_segment

DEAD = 4  # a segment of which one row in so many is no title's is rewritten


@dataclass(frozen=True)
class TitleScenes:
    """What an index keeps of a title: vectors (scenes, width), and shots and ticks (scenes, 4) of each scene.

    ``shots`` is the title's number of shots; ``time_base`` is "" where it has no times, whose ticks are ``NO_TIME``;
    ``found`` says how its scenes were found.

    Raises:
        FeatureError: no scenes, or arrays that do not fit.
    """

    vectors: NDArray[np.float32]
    scenes: NDArray[np.int64]
    shots: int
    time_base: str = ""
    found: str = ""

    def __post_init__(self) -> None:
        vectors, scenes = self.vectors, self.scenes
        if vectors.ndim != 2 or not len(vectors) or vectors.dtype != np.float32 or not np.isfinite(vectors).all():
            raise FeatureError(f"vectors: expected finite float32 (scenes, width), got {vectors.dtype} {vectors.shape}")
        if scenes.shape != (len(vectors), 4) or scenes.dtype != np.int64:
            raise FeatureError(f"scenes: expected int64 ({len(vectors)}, 4), got {scenes.dtype} {scenes.shape}")
        if (scenes[:, 0] < 0).any() or (scenes[:, 1] < scenes[:, 0]).any() or (scenes[:, 1] >= self.shots).any():
            raise FeatureError(f"scenes: expected shots from 0 to {self.shots - 1}")

    def to_bytes(self) -> bytes:
        """The bytes of an ``.npz``, which a worker sends."""
        file, told = io.BytesIO(), [self.time_base, self.found]
        np.savez(file, vectors=self.vectors, scenes=self.scenes, shots=self.shots, told=np.array(told))
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> TitleScenes:
        """Read ``to_bytes`` back."""
        arrays = read_members(io.BytesIO(data))
        return cls(arrays["vectors"], arrays["scenes"], int(arrays["shots"]), *arrays["told"].tolist())


class IndexWriter:
    """An index open for writing, by one process at a time. Made by ``opened``."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest
        self._waiting: dict[str, tuple[TitleScenes, str, str]] = {}

    @classmethod
    @contextmanager
    def opened(cls, folder: str | os.PathLike[str], new: Manifest | None = None) -> Iterator[IndexWriter]:
        """An index to change, or where there is none the ``new`` one; left without an error, it is committed.

        Raises:
            SearchIndexError: no index and no new one, a damaged one, one of another encoder than the new one, or a
                folder of other files, or one that is read-only.
            OverloadedError: another process writes to it now.
        """
        path = Path(folder)
        if new is not None:
            path.mkdir(parents=True, exist_ok=True)
        elif not path.is_dir():
            read_manifest(path)  # which says so
        if not os.access(path, os.W_OK):
            raise SearchIndexError(f"{folder}: expected a folder that can be written to, got one that is read-only")
        try:
            with locked(path, wait=0):
                writer = cls(path, _manifest(path, new))
                writer._clean()
                yield writer
                writer.commit()
        except BlockingIOError as error:
            raise OverloadedError(f"{folder}: another process writes to the index now") from error

    @property
    def num_waiting(self) -> int:
        """Titles that were added since the last ``commit``."""
        return len(self._waiting)

    def add(self, name: str, title: TitleScenes, *, source: str = "", content: str = "") -> None:
        """Add a title or replace it, with the next ``commit``.

        Raises:
            FeatureError: vectors of another width.
        """
        if title.vectors.shape[1] != self.manifest.width:
            raise FeatureError(f"vectors: expected {self.manifest.width} numbers a scene, got {title.vectors.shape[1]}")
        self._waiting[name] = (title, source, content)

    def remove(self, name: str) -> None:
        """Remove a title: no reader that opens the index from now on finds it.

        Raises:
            FeatureError: no such title.
        """
        self.expect(name)
        self._replace({title: entry for title, entry in self.manifest.titles.items() if title != name}, {})

    def expect(self, name: str) -> None:
        """Check that there is a title.

        Raises:
            FeatureError: no such title.
        """
        if name not in self.manifest.titles:
            count = len(self.manifest.titles)
            raise FeatureError(f"title: expected one of the {count} titles of the index, got {name!r:.80}")

    def relocate(self, sources: Mapping[str, str]) -> None:
        """Say where the files of titles are, which did not change but may have moved."""
        own = self.manifest.titles
        moved = {n: dataclasses.replace(own[n], source=path) for n, path in sources.items() if own[n].source != path}
        if moved:
            self._replace({**own, **moved}, {})

    def damaged(self) -> set[str]:
        """Titles whose vectors are not as they were written; to add them again replaces them."""
        own = self.manifest.segments.items()
        broken = {name for name, entry in own if not is_whole(self.folder, name, entry)}
        return {title for title, entry in self.manifest.titles.items() if entry.segment in broken}

    def commit(self) -> None:
        """Make what was added part of the index."""
        if not self._waiting:
            return
        names = sorted(self._waiting)
        segment = secrets.token_hex(8)
        titles, first = dict(self.manifest.titles), 0
        for name in names:
            title, source, content = self._waiting[name]
            count = len(title.vectors)
            own = (segment, first, count, title.shots, title.time_base, source, content, title.found)
            titles[name] = TitleEntry(*own)
            first += count
        parts = ((self._waiting[name][0].vectors, self._waiting[name][0].scenes) for name in names)
        entry = write_segment(self.folder, segment, parts, first, self.manifest.width)
        self._replace(titles, {segment: entry})
        self._waiting.clear()

    def settle(self, *, threads: int = 0, advance: Callable[[int, int], object] = lambda done, whole: None) -> None:
        """Commit, rewrite segments that are small or partly empty as one, and give large ones their graph.

        Afterwards each segment is more than twice as large as all smaller ones together. ``advance`` is told rows of
        graphs that are done, and how many there are.

        Raises:
            SearchIndexError: a segment that is damaged; what was added is there.
            UnsupportedError: a segment needs a graph, and the extra ``search`` is missing; what was added is there.
        """
        self.commit()
        for group in rewritten(
            {name: (s.rows, self.manifest.live(name)) for name, s in self.manifest.segments.items()}
        ):
            self._rewrite(group)
        large = [n for n, s in self.manifest.segments.items() if s.rows > EXACT and "graph" not in s.files]
        whole, done = sum(self.manifest.segments[name].rows for name in large), 0

        def told(count: int) -> None:
            nonlocal done
            done += count
            advance(done, whole)

        for name in large:
            entry = add_graph(self.folder, name, self.manifest.segments[name], threads=threads, advance=told)
            self._replace(self.manifest.titles, {name: entry})

    def _rewrite(self, group: list[str]) -> None:
        """Write the live rows of segments as one."""
        for name in group:
            check_segment(self.folder, name, self.manifest.segments[name])  # what is copied gets a new checksum
        own = {n: t for n, t in self.manifest.titles.items() if t.segment in group}
        order = sorted(own, key=lambda name: (own[name].segment, own[name].first))
        segment, first, titles = secrets.token_hex(8), 0, dict(self.manifest.titles)
        for name in order:
            titles[name] = dataclasses.replace(own[name], segment=segment, first=first)
            first += own[name].scenes
        entry = write_segment(self.folder, segment, self._parts(order), first, self.manifest.width)
        self._replace(titles, {segment: entry})

    def _parts(self, names: list[str]) -> Iterator[Part]:
        opened: dict[str, Part] = {}
        for title in (self.manifest.titles[name] for name in names):
            if title.segment not in opened:
                paths = [segment_file(self.folder, title.segment, kind) for kind in ("vectors", "scenes")]
                opened = {title.segment: _mapped(*paths)}
            vectors, scenes = opened[title.segment]
            rows = slice(title.first, title.first + title.scenes)
            yield vectors[rows], scenes[rows]

    def _replace(self, titles: Mapping[str, TitleEntry], written: Mapping[str, SegmentEntry]) -> None:
        """Replace the manifest, and remove the files of segments that it does not name."""
        used = {title.segment for title in titles.values()}
        segments = {n: s for n, s in {**self.manifest.segments, **written}.items() if n in used}
        self.manifest = dataclasses.replace(self.manifest, segments=segments, titles=titles)
        self.manifest.write(self.folder)
        self._clean()

    def _clean(self) -> None:
        """Remove files that the manifest does not name, such as those of a killed run."""
        own = self.manifest.segments.items()
        named = {segment_file(self.folder, name, kind) for name, entry in own for kind in entry.files}
        left = [path for path in self.folder.glob(f"{SEGMENTS}/*") if path not in named]
        for path in (*left, *self.folder.glob(f".{MANIFEST}.*")):
            path.unlink(missing_ok=True)


def is_whole(folder: Path, name: str, entry: SegmentEntry) -> bool:
    """Whether the files of a segment are as they were written."""
    try:
        check_segment(folder, name, entry)
    except (SearchIndexError, OSError):
        return False
    return True


def _mapped(vectors: Path, scenes: Path) -> Part:
    try:
        return map_array(vectors), map_array(scenes)
    except (OSError, ValueError) as error:
        raise SearchIndexError(f"{vectors.parent}: expected the segments of the index, got: {error}") from error


def _manifest(folder: Path, new: Manifest | None) -> Manifest:
    """The manifest in a folder, else the new one, which is written.

    Raises:
        SearchIndexError: as ``IndexWriter.opened``.
    """
    if new is None or (folder / MANIFEST).exists():
        found = read_manifest(folder)
        if new is not None and found.encoder != new.encoder:
            raise SearchIndexError(
                f"{folder}: expected the encoder of the index, {found.checkpoint} ({found.encoder[:12]}), "
                f"got {new.checkpoint} ({new.encoder[:12]}); another encoder has an index of its own"
            )
        if new is not None and found.checkpoint != new.checkpoint:  # the same encoder, elsewhere
            found = dataclasses.replace(found, checkpoint=new.checkpoint)
            found.write(folder)
        return found
    others = [
        path.name for path in folder.iterdir() if path.name != SEGMENTS and not path.name.startswith(f".{MANIFEST}")
    ]
    if others:
        raise SearchIndexError(f"{folder}: expected a new folder, or an index, got a folder with {sorted(others)[0]}")
    new.write(folder)
    return new


def rewritten(sizes: Mapping[str, tuple[int, int]]) -> list[list[str]]:
    """Groups of segments, of (rows, live rows), that are each rewritten as one.

    The largest segment that is at most twice as large as all smaller ones together joins them. One with many rows that
    are no title's is rewritten by itself.
    """
    order = sorted(sizes, key=lambda name: (sizes[name][1], name))
    group: list[str] = []
    total = 0
    for place, name in enumerate(order):
        if place and sizes[name][1] <= 2 * total:
            group = order[: place + 1]
        total += sizes[name][1]
    worn = [n for n, (rows, live) in sizes.items() if n not in group and DEAD * (rows - live) >= rows]
    return [group] * bool(group) + [[name] for name in worn]


def table(shots: NDArray[np.int64], ticks: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Scenes (scenes, 4) from first and last shots (scenes, 2) and, where there are times, ticks (scenes, 2)."""
    times = np.full((len(shots), 2), NO_TIME) if ticks is None else ticks
    return np.concatenate([shots, times], axis=1).astype(np.int64)

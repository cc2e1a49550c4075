"""A segment: vectors of scenes with their shots and times, written once, mapped, and searched."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.arrays import map_array
from megaseg.engine.inputs.files import atomic_write
from megaseg.errors import SearchIndexError
from megaseg.search.graph import Graph, build
from megaseg.search.manifest import SEGMENTS, FileEntry, SegmentEntry, segment_file

EXACT = 20_000  # rows up to which all vectors are compared: about a millisecond on one core
NO_TIME = -(2**63)  # ticks of a scene without times
CANDIDATES = 4  # times as many as asked for come from a graph, and are compared as they are
_MOST_CANDIDATES = 2048  # above, comparing all vectors is as fast as a graph
_BLOCK = 1 << 16  # rows that are compared at once
Part = tuple[NDArray[np.float32], NDArray[np.int64]]  # vectors (n, width) and scenes (n, 4) of a title


@dataclass(frozen=True)
class Segment:
    """An open segment.

    ``vectors`` are float32 (rows, width) of unit length, or zero for a scene that is like nothing; ``scenes`` are int64
    (rows, 4): first and last shot, start and end tick or ``NO_TIME``. ``live`` (rows,) says which may be found.
    """

    entry: SegmentEntry
    vectors: NDArray[np.float32]
    scenes: NDArray[np.int64]
    graph: Graph | None
    live: NDArray[np.bool_]

    def with_titles(self, spans: Iterable[tuple[int, int]]) -> Segment:
        """The segment with the rows ``first`` to ``after - 1`` of titles alone; nothing is read or checked again."""
        live = np.zeros(len(self.vectors), np.bool_)
        for first, after in spans:
            live[first:after] = self.vectors[first:after].any(axis=1)
        return Segment(self.entry, self.vectors, self.scenes, self.graph, live)

    def nearest(
        self, vector: NDArray[np.float32], count: int, without: tuple[int, int] = (0, 0)
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Rows of the ``count`` nearest live vectors and their distances, nearest first, of equal ones the first row.

        The rows ``without[0]`` to ``without[1] - 1`` are left out.
        """
        rows = self._candidates(vector, count, without)
        distances = np.linalg.norm(self.vectors[rows].astype(np.float64) - vector, axis=1)
        order = np.lexsort((rows, distances))[:count]
        return rows[order], distances[order]

    def _candidates(self, vector: NDArray[np.float32], count: int, without: tuple[int, int]) -> NDArray[np.int64]:
        """Rows among which the nearest ones are: a graph's, of which dead ones are left out, else of all."""
        wanted = CANDIDATES * count
        asked = wanted
        while self.graph is not None and asked <= min(_MOST_CANDIDATES, len(self.vectors)):
            found = self.graph.nearest(vector, asked)
            found = found[self.live[found] & ((found < without[0]) | (found >= without[1]))]
            if len(found) >= min(wanted, 2 * count):
                return found
            asked *= 4
        return self._best_of_all(vector, wanted, without)

    def _best_of_all(self, vector: NDArray[np.float32], wanted: int, without: tuple[int, int]) -> NDArray[np.int64]:
        kept: list[NDArray[np.int64]] = []
        for begin in range(0, len(self.vectors), _BLOCK):
            live = self.live[begin : begin + _BLOCK].copy()
            live[max(without[0] - begin, 0) : max(without[1] - begin, 0)] = False
            own = np.flatnonzero(live)
            if len(own) > wanted:
                products = np.asarray(self.vectors[begin : begin + _BLOCK] @ vector)[own]
                own = own[np.argpartition(-products, wanted - 1)[:wanted]]
            kept.append(own + begin)
        return np.concatenate(kept)


def open_segment(folder: Path, name: str, entry: SegmentEntry, width: int) -> Segment:
    """Open a segment none of whose rows may be found yet; every byte of its files is checked.

    Raises:
        FileNotFoundError: a file is gone.
        SearchIndexError: a file is not as it was written.
        UnsupportedError: the segment has a graph, and the extra ``search`` is missing.
    """
    check_segment(folder, name, entry)
    vectors = _array(segment_file(folder, name, "vectors"), np.float32, (entry.rows, width))
    scenes = _array(segment_file(folder, name, "scenes"), np.int64, (entry.rows, 4))
    graph = None
    if "graph" in entry.files:
        graph = Graph(segment_file(folder, name, "graph"), entry.rows, width)
    return Segment(entry, vectors, scenes, graph, np.zeros(entry.rows, np.bool_))


def check_segment(folder: Path, name: str, entry: SegmentEntry) -> None:
    """Check every byte of a segment's files.

    Raises:
        FileNotFoundError: a file is gone.
        SearchIndexError: a file is not as it was written.
    """
    for kind, file in entry.files.items():
        _check(segment_file(folder, name, kind), file)


def _check(path: Path, expected: FileEntry) -> None:
    size = os.stat(path).st_size
    if size != expected.bytes:
        raise SearchIndexError(f"{path}: expected {expected.bytes} bytes, got {size}; index its titles again")
    if FileEntry.of(path).sha256 != expected.sha256:
        raise SearchIndexError(f"{path}: expected the file as it was written, got other bytes; index its titles again")


def _array(path: Path, kind: Any, shape: tuple[int, int]) -> NDArray[Any]:
    try:
        array = map_array(path)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise SearchIndexError(f"{path}: expected an array, got: {error}") from error
    if array.dtype != kind or array.shape != shape:
        raise SearchIndexError(f"{path}: expected {np.dtype(kind)} {shape}, got {array.dtype} {array.shape}")
    return array


def write_segment(folder: Path, name: str, parts: Iterable[Part], rows: int, width: int) -> SegmentEntry:
    """Write vectors and scenes of titles one after the other, ``rows`` in all; a graph is added by ``add_graph``."""
    (folder / SEGMENTS).mkdir(exist_ok=True)
    paths = {kind: segment_file(folder, name, kind) for kind in ("vectors", "scenes")}
    with atomic_write(paths["vectors"]) as first, atomic_write(paths["scenes"]) as second:
        _write_arrays(first, second, parts, rows, width)
    return SegmentEntry(rows, {kind: FileEntry.of(path) for kind, path in paths.items()})


def _write_arrays(first: Path, second: Path, parts: Iterable[Part], rows: int, width: int) -> None:
    """Write both arrays as they come. They are not mapped: a full disk would then kill the process."""
    with first.open("wb") as vectors, second.open("wb") as scenes:
        _write_header(vectors, "<f4", (rows, width))
        _write_header(scenes, "<i8", (rows, 4))
        for own, table in parts:
            vectors.write(np.ascontiguousarray(own, "<f4").data)
            scenes.write(np.ascontiguousarray(table, "<i8").data)


def _write_header(file: BinaryIO, descr: str, shape: tuple[int, int]) -> None:
    """The header of an ``.npy`` file."""
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})


def add_graph(
    folder: Path, name: str, entry: SegmentEntry, *, threads: int, advance: Callable[[int], object]
) -> SegmentEntry:
    """Write the graph of a segment that has none.

    Raises:
        UnsupportedError: the extra ``search`` is missing.
    """
    vectors = map_array(segment_file(folder, name, "vectors"))
    path = segment_file(folder, name, "graph")
    with atomic_write(path) as temporary:
        build(vectors, temporary, threads=threads, advance=advance)
    return SegmentEntry(entry.rows, {**entry.files, "graph": FileEntry.of(path)})

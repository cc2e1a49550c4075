"""Search for scenes: recall, time and size of an index of a million vectors, and what building it takes.

``python -m benchmarks search --only 100000`` is a trial of fewer vectors. Every number is of the index as
``megaseg index`` writes it: titles of 100 scenes, graphs included.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.rows import Row, row_of
from megaseg.search.graph import BUILD_WIDTH, LINKS, SEARCH_WIDTH
from megaseg.search.index import SceneIndex
from megaseg.search.manifest import Manifest
from megaseg.search.segment import CANDIDATES
from megaseg.search.writer import IndexWriter, TitleScenes, table

SCENES, WIDTH, TITLE = 1_000_000, 128, 100  # vectors, numbers of each, scenes of a title
QUERIES, COUNT = 1000, 10
A_THEME, RANK = 50, 24  # scenes of a theme; directions that films vary in
Vectors = NDArray[np.float32]


def run(only: tuple[str, ...] = ()) -> Iterator[list[Row]]:
    scenes = int(only[0]) if only else SCENES
    for name, make in (("themes", themes), ("films", films)):
        yield measured(f"{scenes:,} scenes of {WIDTH}, {name}", make(scenes + QUERIES))


def themes(count: int) -> Vectors:
    """Scenes around random themes: each has its near neighbours and is far from all others."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((count // A_THEME, WIDTH), np.float32)
    return unit(centres[rng.integers(0, len(centres), count)] + 0.5 * rng.standard_normal((count, WIDTH), np.float32))


def films(count: int) -> Vectors:
    """Scenes as encoders give them: few directions say most, and scenes of a film are like each other."""
    rng = np.random.default_rng(1)
    directions = rng.standard_normal((RANK, WIDTH), np.float32) * (0.85 ** np.arange(RANK, dtype=np.float32))[:, None]
    own = rng.standard_normal((count // TITLE + 1, RANK), np.float32).repeat(TITLE, axis=0)[:count]
    rows = 0.7 * own + 0.7 * rng.standard_normal((count, RANK), np.float32)
    return unit(rows @ directions + 0.05 * rng.standard_normal((count, WIDTH), np.float32))


def unit(rows: Vectors) -> Vectors:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def measured(case: str, vectors: Vectors) -> list[Row]:
    rng = np.random.default_rng(2)
    order = rng.permutation(len(vectors))[:QUERIES]  # scenes of films that the index has other scenes of
    queries, kept = vectors[order], np.delete(vectors, order, axis=0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "index"
        writing, building = built(folder, kept)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        begin = time.perf_counter()
        index = SceneIndex.open(folder)
        opening = time.perf_counter() - begin
        for query in queries[: QUERIES // 10]:
            index.nearest(query, COUNT)  # the pages of the map
        found, seconds = searched(index, queries, lambda query: index.nearest(query, COUNT))
        true, exact = searched(index, queries[:100], lambda query: loop(kept, query))
        every = [set(row) for row in nearest(kept, queries)]
        recall = float(np.mean([len(own & of) / COUNT for own, of in zip(map(set, found), every, strict=True)]))
        assert all(len(own & set(of)) == COUNT for own, of in zip(every, true, strict=False))
    shape = {"links": LINKS, "build_width": BUILD_WIDTH, "search_width": SEARCH_WIDTH, "candidates": CANDIDATES}
    milliseconds = [1e3 * value for value in seconds]
    return [
        row_of(case, "search", "ms", milliseconds, p99=float(np.percentile(milliseconds, 99)), must=2),
        row_of(case, f"recall at {COUNT}", "share", [recall], must=0.95, **shape),
        row_of(case, "all vectors compared, NumPy", "ms", [1e3 * value for value in exact]),
        row_of(case, "writing", "s", [writing]),
        row_of(case, "graph", "s", [building]),
        row_of(case, "opening, every byte checked", "s", [opening]),
        row_of(case, "size", "MB", [size / 1e6], bytes_a_scene=round(size / len(kept))),
    ]


def built(folder: Path, vectors: Vectors) -> tuple[float, float]:
    """Seconds to write titles, and to build the graph."""
    shots = np.stack([3 * np.arange(TITLE), 3 * np.arange(TITLE) + 2], axis=1)
    scenes = table(shots, 24 * shots)
    begin = time.perf_counter()
    with IndexWriter.opened(folder, Manifest("0" * 64, "synthetic", WIDTH)) as writer:
        for first in range(0, len(vectors), TITLE):
            own = vectors[first : first + TITLE]
            title = TitleScenes(own, scenes[: len(own)], 3 * TITLE, "1/24", "labels")
            writer.add(f"{first:09}", title)
        writer.commit()
        written = time.perf_counter()
        writer.settle()
    return written - begin, time.perf_counter() - written


def searched(
    index: SceneIndex, queries: Vectors, search: Callable[[Vectors], object]
) -> tuple[list[list[int]], list[float]]:
    """Rows that each query finds, and its seconds."""
    found, seconds = [], []
    for query in queries:
        begin = time.perf_counter()
        hits = search(query)
        seconds.append(time.perf_counter() - begin)
        found.append(hits if isinstance(hits, list) and isinstance(hits[0], int) else rows_of(hits))
    return found, seconds


def rows_of(hits: object) -> list[int]:
    assert isinstance(hits, list)
    return [int(hit.title) + hit.scene - 1 for hit in hits]


def loop(vectors: Vectors, query: Vectors) -> list[int]:
    products = vectors @ query
    best: list[int] = np.argpartition(-products, COUNT)[:COUNT].tolist()
    return best


def nearest(vectors: Vectors, queries: Vectors) -> list[list[int]]:
    """The exact nearest rows of every query."""
    found: list[list[int]] = []
    for begin in range(0, len(queries), 50):
        products = queries[begin : begin + 50] @ vectors.T
        found += np.argpartition(-products, COUNT, axis=1)[:, :COUNT].tolist()
    return found

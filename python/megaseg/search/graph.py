"""Graphs of neighbours over many vectors (HNSW, by usearch): candidates for the scenes that are nearest to one.

Source of the graph: Malkov and Yashunin, Efficient and Robust Approximate Nearest Neighbor Search Using Hierarchical
Navigable Small World Graphs (2018). The numbers are from ``benchmarks/cases/search.py``.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.errors import SearchIndexError, UnsupportedError

LINKS = 16  # of a vector to neighbours, twice as many at the bottom
BUILD_WIDTH = 64  # candidates looked at for each new vector
SEARCH_WIDTH = 192  # candidates looked at in a search, or more where more are asked for
_BLOCK = 1 << 15  # vectors added between two calls of ``advance``


def _usearch() -> Any:
    try:
        from usearch import index
    except ImportError as error:
        raise UnsupportedError(
            f"a graph of scenes needs the extra search: pip install 'megaseg[search]' ({error})"
        ) from error
    return index


def _new(width: int) -> Any:
    options = {"connectivity": LINKS, "expansion_add": BUILD_WIDTH, "expansion_search": SEARCH_WIDTH}
    return _usearch().Index(ndim=width, metric="ip", dtype="f16", enable_key_lookups=False, **options)


def build(
    vectors: NDArray[np.float32], path: Path, *, threads: int = 0, advance: Callable[[int], object] = lambda count: None
) -> None:
    """Write the graph of unit vectors (n, width), whose keys are their rows; ``advance`` is told rows as they come.

    Vectors are float16 in the graph: it finds candidates, which are compared as they are.

    Raises:
        UnsupportedError: the extra ``search`` is missing. OSError: it cannot be written.
    """
    graph = _new(vectors.shape[1])
    for begin in range(0, len(vectors), _BLOCK):
        block = np.ascontiguousarray(vectors[begin : begin + _BLOCK])
        graph.add(np.arange(begin, begin + len(block), dtype=np.uint64), block, threads=threads)
        advance(len(block))
    try:
        graph.save(str(path))
    except RuntimeError as error:  # usearch's own, of a disk that is full
        raise OSError(errno.EIO, f"the graph cannot be written: {error}", str(path)) from error
    if path.stat().st_size != graph.serialized_length:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


class Graph:
    """A mapped graph; the file has been checked, since usearch believes what stands in it.

    Raises:
        UnsupportedError: the extra ``search`` is missing.
        SearchIndexError: a graph of other vectors, or of a version that usearch cannot read.
    """

    def __init__(self, path: Path, rows: int, width: int) -> None:
        self._graph, self._lock = _new(width), threading.Lock()  # searches of usearch share the buffers of a thread
        try:
            self._graph.view(str(path))
        except Exception as error:
            path.stat()  # FileNotFoundError where a writer has removed it
            raise SearchIndexError(f"{path}: expected a graph that usearch can read, got: {error}") from error
        if len(self._graph) != rows or self._graph.ndim != width:
            got = f"{len(self._graph)} of {self._graph.ndim}"
            raise SearchIndexError(f"{path}: expected a graph of {rows} vectors of {width}, got {got}")

    def nearest(self, vector: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """Rows of about the ``count`` nearest vectors. Safe between threads."""
        with self._lock:
            return np.asarray(self._graph.search(vector, count, threads=1).keys).astype(np.int64)

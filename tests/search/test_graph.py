"""Large segments are searched by a graph: nearly all that a loop finds, without titles that are gone or left out."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from search.indexes import WIDTH, oracle, title, titles, write

from megaseg.errors import UnsupportedError
from megaseg.search import SceneIndex, graph
from megaseg.search.segment import Segment
from megaseg.search.writer import IndexWriter

pytestmark = pytest.mark.usefixtures("small")


def settle(folder: Path) -> SceneIndex:
    with IndexWriter.opened(folder) as writer:
        writer.settle(threads=1)
    return SceneIndex.open(folder)


def recall(index: SceneIndex, films: dict, without: str = "", queries: int = 40) -> float:
    right = 0
    for vector in np.random.default_rng(0).standard_normal((queries, WIDTH)):
        unit = (vector / np.linalg.norm(vector)).astype(np.float32)
        expected = {pair[:2] for pair in oracle(films, unit, without)[:10]}
        right += len(expected & {(hit.title, hit.scene) for hit in index.nearest(unit, 10, without=without or None)})
    return right / (10 * queries)


def test_a_graph_finds_what_a_loop_finds(tmp_path: Path) -> None:
    films = titles(80)
    write(tmp_path, films)
    index = settle(tmp_path)
    (entry,) = index.manifest.segments.values()
    assert set(entry.files) == {"vectors", "scenes", "graph"}
    assert recall(index, films) > 0.98
    assert recall(index, films, without="film7") > 0.98
    (exact,) = index.nearest(index.vector("film3", 2), 1)
    assert exact.distance < 1e-6, "distances are of the vectors as they are, not of the graph's"


def test_titles_that_are_gone_are_not_found_in_a_graph(tmp_path: Path) -> None:
    films = titles(60)
    write(tmp_path, films)
    settle(tmp_path)
    with IndexWriter.opened(tmp_path) as writer:
        for number in range(10):
            writer.remove(f"film{number}")
        writer.add("film11", title(4, 99))
        writer.settle(threads=1)
    now = {n: own for n, own in {**films, "film11": title(4, 99)}.items() if n not in {f"film{i}" for i in range(10)}}
    index = SceneIndex.open(tmp_path)
    assert len(index.manifest.segments) == 2, "most of the graph's rows live: it is not written again"
    assert recall(index, now) > 0.98


def test_a_title_of_many_near_scenes_left_out(tmp_path: Path) -> None:
    """The graph's nearest are all of the title itself: more are asked for until there are enough others."""
    own = title(500, 1)
    own.vectors[:] = own.vectors[0] + 0.01 * own.vectors
    own.vectors[:] /= np.linalg.norm(own.vectors, axis=1, keepdims=True)
    films = {"own": own, **titles(5)}
    write(tmp_path, films)
    index = settle(tmp_path)
    hits = index.nearest(own.vectors[7], 10, without="own")
    assert [(hit.title, hit.scene) for hit in hits] == [pair[:2] for pair in oracle(films, own.vectors[7], "own")[:10]]


def test_without_usearch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was added is there and found; the message says which extra makes it faster."""
    films = titles(10)
    write(tmp_path, films)

    def missing() -> None:
        raise UnsupportedError("a graph of scenes needs the extra search: pip install 'megaseg[search]'")

    with monkeypatch.context() as patch:
        patch.setattr(graph, "_usearch", missing)
        with pytest.raises(UnsupportedError, match="needs the extra search"):
            settle(tmp_path)
        index = SceneIndex.open(tmp_path)
        assert recall(index, films) == 1.0
    settle(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(graph, "_usearch", missing)
        with pytest.raises(UnsupportedError, match="needs the extra search"):
            SceneIndex.open(tmp_path)


def test_blocks_of_vectors_are_compared_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    films = titles(10)
    write(tmp_path, films)
    index = SceneIndex.open(tmp_path)
    whole = index.nearest(index.vector("film2", 2), 25, without="film3")
    monkeypatch.setattr("megaseg.search.segment._BLOCK", 7)
    assert index.nearest(index.vector("film2", 2), 25, without="film3") == whole
    assert isinstance(next(iter(index._segments.values())), Segment)


def test_searches_of_many_threads(tmp_path: Path) -> None:
    films = titles(40)
    write(tmp_path, films)
    index = settle(tmp_path)
    vectors = [index.vector(f"film{number}", 3) for number in range(40)]
    alone = [index.nearest(vector, 10) for vector in vectors]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda vector: index.nearest(vector, 10), vectors * 5)) == alone * 5


def test_nothing_imports_usearch_before_a_graph_is_needed() -> None:
    code = "import sys, megaseg.cli, megaseg.search; print('usearch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"

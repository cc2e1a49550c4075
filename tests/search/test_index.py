"""An index on disk: what is found is what a loop over all vectors finds, whatever was added, replaced and removed."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from search.indexes import NEW, WIDTH, oracle, title, titles, write

from megaseg.errors import FeatureError, OverloadedError, SearchIndexError
from megaseg.search import SceneIndex
from megaseg.search.manifest import SEGMENTS
from megaseg.search.writer import IndexWriter, TitleScenes, rewritten

RNG = np.random.default_rng(5)


def found(index: SceneIndex, vector: np.ndarray, count: int, without: str | None = None) -> list[tuple[str, int]]:
    return [(hit.title, hit.scene) for hit in index.nearest(vector, count, without=without)]


def assert_all_found(index: SceneIndex, films: dict[str, TitleScenes], count: int = 10) -> None:
    for vector in (*RNG.standard_normal((5, WIDTH)), next(iter(films.values())).vectors[3]):
        unit = (vector / np.linalg.norm(vector)).astype(np.float32)
        for without in ("", next(iter(films))):
            expected = oracle(films, unit, without)[:count]
            hits = index.nearest(unit, count, without=without or None)
            assert [(hit.title, hit.scene) for hit in hits] == [pair[:2] for pair in expected]
            assert np.allclose([hit.distance for hit in hits], [distance for *_, distance in expected], atol=1e-6)


def test_the_nearest_of_all_titles(tmp_path: Path) -> None:
    films = titles(9)
    write(tmp_path / "index", films)
    index = SceneIndex.open(tmp_path / "index")
    assert_all_found(index, films)
    assert index.manifest.num_scenes == sum(len(own.vectors) for own in films.values())
    (hit, *_) = index.nearest(index.vector("film4", 6), 1)
    assert (hit.title, hit.scene, hit.first_shot, hit.last_shot) == ("film4", 6, 15, 17)
    assert hit.distance < 1e-6
    assert (hit.start_ticks, hit.end_ticks, hit.time_base, hit.seconds) == (180, 216, Fraction(1, 24), (7.5, 9.0))
    assert hit.source == "/films/film4.mp4"
    assert hit.to_dict()["end_seconds"] == 9.0


def test_fewer_scenes_than_asked_for(tmp_path: Path) -> None:
    write(tmp_path, {"a": title(2, 0), "b": title(3, 1, timed=False)})
    index = SceneIndex.open(tmp_path)
    assert len(index.nearest(index.vector("a", 1), 50)) == 5
    hits = index.nearest(index.vector("a", 1), 50, without="a")
    assert {(hit.title, hit.seconds) for hit in hits} == {("b", None)}
    assert len(hits) == 3


def test_equal_vectors_come_by_title_and_scene(tmp_path: Path) -> None:
    one = title(30, 3)
    same = dataclasses.replace(one, vectors=np.repeat(one.vectors[:1], 30, axis=0))
    write(tmp_path, {"b": same, "a": same, "c": one})
    index = SceneIndex.open(tmp_path)
    assert found(index, one.vectors[0], 5) == [("a", number) for number in range(1, 6)]


def test_a_scene_without_a_vector_is_like_nothing(tmp_path: Path) -> None:
    silent = title(4, 3)
    silent.vectors[1] = 0
    write(tmp_path, {"a": silent})
    index = SceneIndex.open(tmp_path)
    assert {scene for _, scene in found(index, silent.vectors[0], 9)} == {1, 3, 4}
    with pytest.raises(FeatureError, match="vector: expected 12 numbers that are not all 0"):
        index.nearest(index.vector("a", 2))


def test_titles_are_added_replaced_and_removed(tmp_path: Path) -> None:
    films = titles(6)
    write(tmp_path, films)
    before = SceneIndex.open(tmp_path)
    later = {"film2": title(8, 77), "film9": title(5, 9)}
    write(tmp_path, later)
    with IndexWriter.opened(tmp_path) as writer:
        writer.remove("film0")
        assert "film0" not in SceneIndex.open(tmp_path).manifest.titles, "at once"
        with pytest.raises(FeatureError, match="title: expected one of the 6 titles of the index, got 'film0'"):
            writer.remove("film0")
    now = {name: own for name, own in {**films, **later}.items() if name != "film0"}
    index = before.current()
    assert_all_found(index, now)
    assert_all_found(SceneIndex.open(tmp_path), now)
    assert_all_found(before, films)  # stays as it was opened
    assert index.current() is index
    assert len(index.scenes("film2")) == 8


def test_settled_segments_are_more_than_twice_as_large_as_all_smaller_ones(tmp_path: Path) -> None:
    films = titles(40)
    for name, own in films.items():
        write(tmp_path, {name: own})
    assert len(SceneIndex.open(tmp_path).manifest.segments) == 40
    with IndexWriter.opened(tmp_path) as writer:
        writer.settle()
        for number in range(5):
            writer.remove(f"film{number}")
        writer.settle()
        assert_all_found(
            SceneIndex.open(tmp_path), {n: f for n, f in films.items() if n not in films or int(n[4:]) > 4}
        )
        for number in range(40, 49):
            writer.add(f"film{number}", title(15, number))
            writer.settle()
    manifest = SceneIndex.open(tmp_path).manifest
    rows = sorted(segment.rows for segment in manifest.segments.values())
    assert all(size > 2 * sum(rows[:place]) for place, size in enumerate(rows))
    files = sorted(path.name for path in (tmp_path / SEGMENTS).iterdir())
    assert len(files) == 2 * len(rows), "of segments that are no more, nothing is left"


def test_what_is_rewritten() -> None:
    assert rewritten({"a": (10, 10), "b": (25, 25), "c": (100, 100)}) == []
    assert rewritten({"a": (10, 10), "b": (20, 20), "c": (100, 100)}) == [["a", "b"]]
    assert rewritten({"a": (10, 10), "b": (25, 25), "c": (70, 70)}) == [["a", "b", "c"]]
    assert rewritten({"a": (10, 10), "b": (400, 300)}) == [["b"]], "a quarter is no title's"
    assert rewritten({"a": (10, 10), "b": (400, 301)}) == []


def test_an_index_of_another_encoder(tmp_path: Path) -> None:
    write(tmp_path, titles(1))
    other = dataclasses.replace(NEW, encoder="f" * 64, checkpoint="other.safetensors")
    with pytest.raises(
        SearchIndexError, match=r"encoder of the index, encoder.safetensors \(eeeeeeeeeeee\), got other"
    ):
        IndexWriter.opened(tmp_path, other).__enter__()
    with IndexWriter.opened(tmp_path, NEW) as writer, pytest.raises(FeatureError, match="expected 12 numbers a scene"):
        writer.add("a", TitleScenes(np.ones((1, 5), np.float32), title(1, 0).scenes, 3))


def test_folders_that_are_no_index(tmp_path: Path) -> None:
    for folder, told in ((tmp_path / "none", "no such file"), (tmp_path, "a folder without one")):
        with pytest.raises(SearchIndexError, match=f"{folder}: expected an index of scenes, got {told}"):
            SceneIndex.open(folder)
    (tmp_path / "film.mp4").touch()
    with pytest.raises(SearchIndexError, match="expected a new folder, or an index, got a folder with film.mp4"):
        IndexWriter.opened(tmp_path, NEW).__enter__()
    with pytest.raises(SearchIndexError, match="expected an index of scenes"):
        IndexWriter.opened(tmp_path / "none").__enter__()


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with (
        IndexWriter.opened(tmp_path, NEW),
        pytest.raises(OverloadedError, match="another process writes to the index now"),
    ):
        IndexWriter.opened(tmp_path, NEW).__enter__()


def test_an_error_commits_nothing(tmp_path: Path) -> None:
    write(tmp_path, titles(2))

    def broken() -> None:
        with IndexWriter.opened(tmp_path, NEW) as writer:
            writer.add("more", title(3, 9))
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    assert set(SceneIndex.open(tmp_path).manifest.titles) == {"film0", "film1"}


BAD = {
    "finite": (np.full((2, WIDTH), np.nan, np.float32), title(2, 0).scenes),
    "expected finite float32": (np.ones((2, WIDTH)), title(2, 0).scenes),
    "got float32 [(]0": (np.ones((0, WIDTH), np.float32), title(2, 0).scenes[:0]),
    "int64 [(]2, 4[)]": (title(2, 0).vectors, title(3, 0).scenes),
    "shots from 0 to 5": (title(2, 0).vectors, title(2, 0).scenes + 4),
}


@pytest.mark.parametrize("told", BAD)
def test_a_title_that_does_not_fit(told: str) -> None:
    with pytest.raises(FeatureError, match=told):
        TitleScenes(*BAD[told], 6)


def test_a_title_travels_as_bytes() -> None:
    own = title(4, 0)
    read = TitleScenes.from_bytes(own.to_bytes())
    assert np.array_equal(read.vectors, own.vectors)
    assert np.array_equal(read.scenes, own.scenes)
    assert (read.shots, read.time_base, read.found) == (12, "1/24", "labels")


@pytest.mark.parametrize(("scene", "count"), [(0, 5), (21, 5), (1, 0)])
def test_what_is_not_there(tmp_path: Path, scene: int, count: int) -> None:
    write(tmp_path, titles(1))
    index = SceneIndex.open(tmp_path)
    with pytest.raises(FeatureError, match="scene: expected from 1 to 20 of film0|count: expected at least 1"):
        index.nearest(index.vector("film0", scene), count)
    with pytest.raises(FeatureError, match=r"title: expected one of the 1 titles of the index \(film0 ...\), got 'x'"):
        index.vector("x", 1)

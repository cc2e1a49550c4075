"""A damaged index is refused, whatever byte of whatever file is another one; indexing its titles again mends it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from search.indexes import NEW, titles, write

from megaseg.errors import SearchIndexError
from megaseg.search import SceneIndex
from megaseg.search.manifest import MANIFEST, SEGMENTS, _checksum
from megaseg.search.writer import IndexWriter

FILMS = titles(8)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index with a graph, and a segment without."""
    pytest.importorskip("usearch", reason="needs the extra search")
    folder = tmp_path_factory.mktemp("whole") / "index"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("megaseg.search.writer.EXACT", 100)
        write(folder, FILMS)
        with IndexWriter.opened(folder) as writer:
            writer.settle(threads=1)
        write(folder, titles(1, first=20))
    assert len(list((folder / SEGMENTS).iterdir())) == 5
    return folder


@pytest.fixture
def index(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "index"))


def files(folder: Path) -> list[Path]:
    return sorted([folder / MANIFEST, *(folder / SEGMENTS).iterdir()], key=lambda path: path.name)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    which=st.integers(0, 5),
    kind=st.sampled_from(["flip", "cut", "more", "gone"]),
    where=st.floats(0, 1),
    bit=st.integers(0, 7),
)
def test_any_damage_is_refused(index: Path, which: int, kind: str, where: float, bit: int) -> None:
    path = files(index)[which]
    before = path.read_bytes()
    at = int(where * (len(before) - 1))
    damaged = {"flip": before[:at] + bytes([before[at] ^ 1 << bit]) + before[at + 1 :], "cut": before[:at]}
    try:
        if kind == "gone":
            path.unlink()
        else:
            path.write_bytes(damaged.get(kind, before + b"\0"))
        with pytest.raises(SearchIndexError, match=f"{index}"):
            SceneIndex.open(index)
    finally:
        path.write_bytes(before)


def test_a_damaged_index_is_mended_by_indexing_again(index: Path) -> None:
    path = next(path for path in files(index) if path.name.endswith(".graph"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SearchIndexError, match="bytes, got .*; index its titles again"):
        SceneIndex.open(index)
    with IndexWriter.opened(index, NEW) as writer:
        assert writer.damaged() == set(FILMS)
        for name in FILMS:
            writer.add(name, FILMS[name])
        writer.settle()
    assert set(SceneIndex.open(index).manifest.titles) == {*FILMS, "film20"}


def test_damage_is_not_copied_where_segments_are_rewritten(index: Path) -> None:
    """Rewritten vectors get a new checksum: damaged ones would then count as whole."""
    small = next(path for path in files(index) if path.name.endswith(".vectors.npy") and path.stat().st_size < 2000)
    small.write_bytes(small.read_bytes()[:-4] + b"\1\2\3\4")
    with IndexWriter.opened(index, NEW) as writer:
        writer.add("film20x", FILMS["film1"])
        with pytest.raises(SearchIndexError, match="expected the file as it was written"):
            writer.settle()
    with IndexWriter.opened(index) as writer:
        writer.remove("film20")
        writer.settle()
    assert "film20x" in SceneIndex.open(index).manifest.titles


FALSE = {
    "titles that share rows": lambda values: values["titles"]["film1"].update(first=0),
    "rows beyond the segment": lambda values: values["titles"]["film7"].update(scenes=10_000),
    "an unknown segment": lambda values: values["titles"]["film1"].update(segment="0" * 16),
    "no time base": lambda values: values["titles"]["film1"].update(time_base="0/0"),
    "a segment elsewhere": lambda values: values["segments"].update(
        {"../../x": next(iter(values["segments"].values()))}
    ),
    "another width": lambda values: values.update(width=3),
    "no width": lambda values: values.update(width="12"),
    "no titles": lambda values: values.pop("titles"),
}


@pytest.mark.parametrize("what", FALSE)
def test_a_manifest_that_says_what_cannot_be(index: Path, what: str) -> None:
    """With a checksum that is right."""
    path = index / MANIFEST
    values = json.loads(path.read_text())
    values.pop("sha256")
    FALSE[what](values)
    path.write_text(json.dumps({**values, "sha256": _checksum(values)}))
    with pytest.raises(SearchIndexError, match=f"{index}"):
        SceneIndex.open(index)

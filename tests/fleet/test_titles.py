"""Inputs to titles, whatever they are: folders, files, Parquet lists, storage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megaseg import Features, save_features
from megaseg.catalog.storage import read_source
from megaseg.catalog.titles import find_titles
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.features import Screenplay

FEATURES = Features({"clip": np.ones((3, 2), np.float32)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    for name in ("b.npz", "series/1/a.npz", "series/2/a.npz", ".hidden/x.npz", "series/.b.npz.tmp1.npz"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        save_features(root / name, FEATURES)
    (root / "notes.md").write_text("no features")
    return root


@pytest.fixture
def bucket() -> Iterator[Any]:
    fsspec = pytest.importorskip("fsspec")
    files = fsspec.filesystem("memory")
    yield files
    if files.exists("/bucket"):
        files.rm("/bucket", recursive=True)


def test_titles_of_a_folder_are_paths_below_it(folder: Path) -> None:
    expected = {name: str(folder / f"{name}.npz") for name in ("b", "series/1/a", "series/2/a")}
    assert find_titles([str(folder)]) == expected
    assert list(find_titles([str(folder)])) == sorted(expected)


def test_relative_inputs_give_absolute_paths(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)  # workers have another working folder
    assert find_titles(["in/series/1", "in/b.npz"]) == {
        "a": str(folder / "series/1/a.npz"),
        "b": str(folder / "b.npz"),
    }


def test_a_screenplay_in_storage_has_its_own_name(bucket: Any) -> None:
    bucket.pipe("/bucket/lamp.fountain", "INT. A\n\nZOÉ waits.\n\nZOÉ\nNon.\n".encode("cp1252"))
    play = read_source("memory://bucket/lamp.fountain")
    assert isinstance(play, Screenplay)
    assert play.name == "lamp"
    assert play.remarks[0].startswith("memory://bucket/lamp.fountain: read as Windows-1252")


def test_storage_gives_the_titles_of_a_folder(folder: Path, bucket: Any) -> None:
    bucket.put(str(folder), "/bucket/in", recursive=True)
    titles = find_titles(["memory://bucket/in"])
    assert list(titles) == list(find_titles([str(folder)]))
    read = read_source(titles["series/2/a"])
    assert isinstance(read, Features)
    assert np.array_equal(read.modalities["clip"], FEATURES.modalities["clip"])
    assert list(find_titles(["memory://bucket/in/b.npz"])) == ["b"]
    assert find_titles([f"file://{folder}/series/1"]) == {"a": f"file://{folder}/series/1/a.npz"}


def test_screenplays_are_titles_and_text_files_only_by_name(folder: Path, bucket: Any) -> None:
    (folder / "series/c.fountain").write_text("INT. A - DAY\n\nHe waits.\n")
    (folder / "series/c.txt").write_text("INT. A - DAY\n\nHe waits.\n")
    assert find_titles([str(folder)])["series/c"] == str(folder / "series/c.fountain")
    assert find_titles([str(folder / "series/c.txt")]) == {"c": str(folder / "series/c.txt")}
    bucket.put(str(folder), "/bucket/in", recursive=True)
    for path in (folder / "series/c.txt", "memory://bucket/in/series/c.fountain"):
        play = read_source(str(path))
        assert isinstance(play, Screenplay)
        assert [block.text for block in play.blocks] == ["He waits."]


def test_errors_in_storage_name_the_url(folder: Path, bucket: Any) -> None:
    bucket.pipe("/bucket/torn.npz", b"PK\x03\x04")
    with pytest.raises(FeatureError, match=r"^memory://bucket/torn\.npz: expected a readable \.npz"):
        read_source("memory://bucket/torn.npz")
    with pytest.raises(FeatureError, match=r"^memory://bucket/none\.npz: expected a readable file"):
        read_source("memory://bucket/none.npz")
    with pytest.raises(FeatureError, match="memory://bucket/none: expected films, .npz"):
        find_titles(["memory://bucket/none"])
    with pytest.raises(FeatureError, match="nope://x: expected a URL that fsspec can open"):
        find_titles(["nope://x"])


def test_a_storage_without_its_package_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fsspec")
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(UnsupportedError, match="s3://bucket/in: Install s3fs"):
        find_titles(["s3://bucket/in"])


def test_urls_without_fsspec_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fsspec.core", None)
    with pytest.raises(UnsupportedError, match=r"megaseg\[fleet\]"):
        find_titles(["memory://bucket/in"])


def write_list(file: Path, /, **columns: list[Any]) -> str:
    pytest.importorskip("pyarrow")
    from pyarrow import parquet, table

    parquet.write_table(table(columns), file)
    return str(file)


def test_a_parquet_list_names_paths_and_titles(folder: Path, bucket: Any) -> None:
    paths = ["b.npz", str(folder / "series/1/a.npz"), "memory://bucket/in/c.npz"]
    listed = write_list(folder / "titles.parquet", path=paths)
    local = str(folder / "series/1/a").lstrip("/")
    assert find_titles([listed]) == {"b": str(folder / "b.npz"), local: paths[1], "bucket/in/c": paths[2]}
    listed = write_list(folder / "titles.parquet", file=paths, title=["x", "y/1", "y/2"])
    assert list(find_titles([listed], path_column="file")) == ["x", "y/1", "y/2"]
    bucket.put(listed, "/bucket/titles.parquet")
    titles = find_titles(["memory://bucket/titles.parquet"], path_column="file")
    assert titles == {"x": "memory://bucket/b.npz", "y/1": paths[1], "y/2": paths[2]}


def test_bad_parquet_lists_are_refused(folder: Path) -> None:
    listed = write_list(folder / "titles.parquet", file=["b.npz"], title=["x"])
    with pytest.raises(FeatureError, match=r"titles.parquet: expected the column 'path' \(path_column\)"):
        find_titles([listed])
    listed = write_list(folder / "titles.parquet", path=[None, "b.npz"])
    with pytest.raises(FeatureError, match="expected paths and titles as text, got None"):
        find_titles([listed])
    (folder / "titles.parquet").write_bytes(b"PAR1")
    with pytest.raises(FeatureError, match="titles.parquet: expected readable input"):
        find_titles([listed])


@pytest.mark.parametrize("title", ["", "/a", "../a", "a/../../b", "a//b", ".a", "a/", "x" * 221, "a\0b", "catalog"])
def test_a_title_that_leaves_the_results_folder_is_refused(folder: Path, title: str) -> None:
    listed = write_list(folder / "titles.parquet", path=["b.npz"], title=[title])
    with pytest.raises(FeatureError, match="title"):
        find_titles([listed])


def test_two_files_of_one_title_are_refused(folder: Path) -> None:
    with pytest.raises(FeatureError, match=r"title 'a': expected one file, got .*1/a\.npz and .*2/a\.npz"):
        find_titles([str(folder / "series/1"), str(folder / "series/2")])
    save_features(folder / "b.npz", FEATURES)
    (folder / "b.safetensors").write_bytes(b"")
    with pytest.raises(FeatureError, match="title 'b'"):
        find_titles([str(folder)])


def test_an_input_of_no_titles_is_refused(folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(
        FeatureError, match="empty: expected films, .npz, .safetensors, .fountain, .spmd, .fdx files, got none"
    ):
        find_titles([str(folder / "empty")])
    with pytest.raises(FeatureError, match="none: expected a folder, a film, a feature file, a screenplay or a Parq"):
        find_titles([str(folder / "none")])
    (folder / "notes.rtf").write_bytes(b"")
    with pytest.raises(
        FeatureError, match=r"notes.rtf: expected a folder, a film, or a .npz, .*\.fdx, \.pdf or \.parquet file"
    ):
        find_titles([str(folder / "notes.rtf")])


def test_scripts_of_every_kind_and_suffixes_in_any_case(folder: Path) -> None:
    new = folder / "new"
    new.mkdir()
    for name in ("A.NPZ", "b.FDX", "c.Fountain", "d.spmd", "e.md", "f.PDF", "g.txt"):
        (new / name).write_bytes(b"")
    assert sorted(find_titles([str(new)])) == ["A", "b", "c", "d"]
    for name in ("e.md", "f.PDF", "g.txt"):
        assert find_titles([str(new / name)]) == {name[0]: str(new / name)}

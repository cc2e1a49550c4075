"""The cache of a film: a pass that was cut off goes on at its part, to the same bits; damage is read as absence."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from films import Look, Tone, beeps, shots, write_film
from toy_measures import ALL, Levels, spec

from megaseg.media.measures import Measures, Recording
from megaseg.media.parts import remove_oldest
from megaseg.media.reading import read_video
from megaseg.media.video import Video

PART = 600
FRAMES = 2 * PART + 200
RATE = 24  # frames a second: a minute of film has three parts
LINES = [(10.0, 11.0, "Early."), (26.0, 27.0, "Later."), (52.0, 53.0, "Late.")]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three parts with B-frames and groups that do not end with parts, sound and subtitles."""
    path = tmp_path_factory.mktemp("films") / "film.mkv"
    look = Look(rate=RATE, options={"g": "250", "preset": "ultrafast", "bf": "2"})
    pictures = shots(FRAMES, 97, (16, 24))
    return write_film(path, pictures, look, sound=[Tone(beeps(FRAMES / RATE))], lines=LINES)


@pytest.fixture(scope="module")
def whole(film: Path) -> Recording:
    return read(film, None)


def read(path: Path, cache: Path | None, advance: Callable[[float, float], None] = lambda *_: None) -> Recording:
    return read_video(Video("film", path), ALL, cache=cache, advance=advance, part=PART)


def cut_off(path: Path, cache: Path, parts: int) -> list[Path]:
    """Leave what a pass has written that was killed after so many parts."""
    read(path, cache)
    for part in written(cache)[parts:]:
        part.unlink()
    return written(cache)


def written(cache: Path) -> list[Path]:
    return sorted(cache.glob("*/part-*.npz"))


def arrays(recording: Recording) -> Iterator[tuple[str, np.ndarray]]:
    for name in ("frame_ticks", "picture_ticks", "sound_ticks"):
        yield name, getattr(recording, name)
    for kind in ("frames", "pictures", "sound"):
        yield from getattr(recording, kind).items()
    yield "thumbnails", recording.thumbnails.ticks


def assert_same(left: Recording, right: Recording) -> None:
    assert (left.info, left.lines) == (right.info, right.lines)
    assert left.thumbnails.pictures == right.thumbnails.pictures
    assert left.thumbnails.size == right.thumbnails.size
    for (name, one), (_, other) in zip(arrays(left), arrays(right), strict=True):
        np.testing.assert_array_equal(one, other, err_msg=name)


def test_parts_join_without_a_seam(whole: Recording) -> None:
    assert len(whole.frame_ticks) == FRAMES + 1
    np.testing.assert_allclose(np.diff(whole.frame_ticks), 1000 / RATE, atol=1)
    assert [line.text for line in whole.lines] == ["Early.", "Later.", "Late."]
    rows = -(-FRAMES * 2 // RATE)
    assert len(whole.sound_ticks) == len(whole.sound["loudness"]) == rows
    np.testing.assert_allclose(
        whole.sound["loudness"][: rows - 1, 0], np.arange(rows - 1) % 2 * -0.354 + 0.354, atol=0.02
    )
    assert len(whole.picture_ticks) == len(whole.pictures["colours"]) >= rows
    assert (np.diff(whole.picture_ticks) > 0).all()


@pytest.mark.parametrize("parts", [1, 2])
def test_a_pass_that_was_cut_off_goes_on_to_the_same_bits(
    film: Path, whole: Recording, parts: int, tmp_path: Path
) -> None:
    kept = {path: path.stat().st_ino for path in cut_off(film, tmp_path, parts)}
    assert len(kept) == parts
    done: list[float] = []
    assert_same(read(film, tmp_path, lambda seconds, _: done.append(seconds)), whole)
    assert {path: path.stat().st_ino for path in kept} == kept
    assert min(done) >= len(kept) * PART / RATE - 0.01


def test_a_film_that_was_read_is_not_decoded_again(film: Path, whole: Recording, tmp_path: Path) -> None:
    read(film, tmp_path)
    assert len(written(tmp_path)) == 3
    told: list[float] = []
    assert_same(read(film, tmp_path, lambda done, _: told.append(done)), whole)
    assert told == []


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other"])
def test_damaged_parts_are_absent(film: Path, whole: Recording, damage: str, tmp_path: Path) -> None:
    read(film, tmp_path)
    path = written(tmp_path)[1]
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 0xFF
    content = {"cut": bytes(data[:-100]), "flip": bytes(data), "empty": b"", "other": b"PK\3\4 no archive"}[damage]
    path.write_bytes(content)
    assert_same(read(film, tmp_path), whole)
    assert path.read_bytes() != content


def test_frames_that_are_not_what_they_were_are_read_from_the_start(
    film: Path, whole: Recording, tmp_path: Path
) -> None:
    [first] = cut_off(film, tmp_path, 1)
    with np.load(first) as file:
        stored = {name: file[name] for name in file.files}
    told = stored["told"].tobytes().decode()
    digest = told.split('"digest": "')[1][:64]
    stored["told"] = np.frombuffer(told.replace(digest, "0" * 64).encode(), np.uint8)
    np.savez(first, **stored)
    assert_same(read(film, tmp_path), whole)
    with np.load(first) as file:
        assert digest in file["told"].tobytes().decode()


def test_another_file_or_measure_is_kept_apart(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    path = write_film(tmp_path / "film.mkv", shots(24))
    read(path, cache)
    write_film(path, shots(25))
    assert len(read(path, cache).frame_ticks) == 26
    other = Measures(frames=(spec(Levels, context=3),))
    read_video(Video("film", path), other, cache=cache)
    read_video(Video("film", path), other, cache=cache)
    assert len({part.parent for part in written(cache)}) == 3


def test_files_that_killed_processes_left_are_removed(tmp_path: Path) -> None:
    path, cache = write_film(tmp_path / "film.mkv", shots(24)), tmp_path / "cache"
    read(path, cache)
    [part] = written(cache)
    old, new = (part.with_name(f".part-00000.npz.{name}.npz") for name in ("old", "new"))
    old.write_bytes(b"half")
    new.write_bytes(b"half")
    os.utime(old, (0, 0))
    read(path, cache)
    assert (old.exists(), new.exists(), part.exists()) == (False, True, True)


def test_a_full_cache_loses_the_films_that_were_read_longest_ago(tmp_path: Path) -> None:
    now = time.time()
    ages = {"a" * 32: 10, "b" * 32: 7200, "c" * 32: 9000, "d" * 32: 8000, "notes": 9999}
    for name, age in ages.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "part-00000.npz").write_bytes(bytes(1000))
        os.utime(tmp_path / name, (now - age, now - age))
    remove_oldest(tmp_path, 4000)
    assert {path.name[0] for path in tmp_path.iterdir()} == {*"abcdn"}
    remove_oldest(tmp_path, 2500)
    assert {path.name[0] for path in tmp_path.iterdir()} == {*"abn"}
    remove_oldest(tmp_path, 0)
    assert {path.name[0] for path in tmp_path.iterdir()} == {*"an"}, "what may be in use stays, and what is no film"


def test_a_cache_that_cannot_be_written_keeps_nothing(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mkv", shots(24))
    (tmp_path / "file").write_bytes(b"")
    assert len(read(path, tmp_path / "file" / "cache").frame_ticks) == 25


def test_nothing_is_left_where_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = write_film(tmp_path / "film.mkv", shots(24))
    read(path, None)
    assert os.listdir(tmp_path) == ["film.mkv"]

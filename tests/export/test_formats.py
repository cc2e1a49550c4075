"""The table of formats, saving, and what every format owes: whole files, and every text escaped."""

from __future__ import annotations

import csv
import errno
import io
import json
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from timelines import HOSTILE, films, result

from megaseg import Segmentation
from megaseg.errors import FeatureError
from megaseg.export import export, format_of, formats, save
from megaseg.media.shots.lists import read_shots
from megaseg.media.timecode import FrameRate, decimal
from megaseg.media.video import VideoInfo

SUFFIXES = {
    **{"json": ".json", "csv": ".csv", "edl": ".edl", "resolve": ".resolve.edl", "otio": ".otio"},
    **{"ffmetadata": ".ffmetadata.txt", "matroska": ".chapters.xml", "vtt": ".chapters.vtt", "ogm": ".ogm.txt"},
    **{"youtube": ".youtube.txt", "kodi": ".kodi.edl", "jellyfin": ".chapters.nfo", "cues": ".cues.csv"},
    **{"vmap": ".vmap.xml", "hls": ".hls.m3u8", "scte35": ".scte35.json"},
    **{"fcp7": ".fcp7.xml", "fcpxml": ".fcpxml", "premiere": ".premiere.csv", "avid": ".avid.txt"},
}
ALL = pytest.mark.parametrize("one", formats(), ids=lambda one: one.name)
MOVIE = result([1000, 2000, 3000], ends=[0, 1], tps=[0], frame_rate=Fraction(25), captions=("a", "b", "c"))


def test_names_and_suffixes_are_a_contract() -> None:
    table = {one.name: one.suffix for one in formats()}
    assert SUFFIXES.items() <= table.items()
    assert len(set(table.values())) == len(table) == len(formats())


@ALL
def test_a_format_is_found_by_name_and_by_the_longest_suffix(one: Any) -> None:
    assert format_of(one.name) is one
    assert format_of(f"/films/A.Film{one.suffix.upper()}") is one
    assert one.title
    assert "\n" not in one.title


@pytest.mark.parametrize("name", ["film.mp4", "film", "", "jso"])
def test_what_is_no_format(name: str) -> None:
    with pytest.raises(FeatureError, match=r"format: expected one of json \(\.json\), csv"):
        format_of(name)


def test_results_save_themselves_by_suffix_or_format(tmp_path: Path) -> None:
    MOVIE.save(tmp_path / "Harbour.edl", start_timecode="10:00:00:00")
    MOVIE.save(str(tmp_path / "list.txt"), "edl", title="Harbour", start_timecode="10:00:00:00")
    edl = (tmp_path / "Harbour.edl").read_text(encoding="utf-8")
    assert edl == (tmp_path / "list.txt").read_text(encoding="utf-8")
    assert edl.startswith("TITLE: Harbour\n")
    MOVIE.save(tmp_path / "Harbour.json")
    kept = Segmentation.from_json((tmp_path / "Harbour.json").read_text(encoding="utf-8"))
    assert kept.to_dict() == MOVIE.to_dict()


@pytest.mark.parametrize("name", [".edl", "a.fcp7.xml"])
def test_the_title_is_the_files_name_where_there_is_one(name: str, tmp_path: Path) -> None:
    save(MOVIE, tmp_path / name)
    assert {".edl": "TITLE: film", "a.fcp7.xml": "<name>a</name>"}[name] in (tmp_path / name).read_text("utf-8")


@ALL
def test_a_disk_that_fills_leaves_nothing_half_written(
    one: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / f"film{one.suffix}"
    target.write_text("the file of before", encoding="utf-8")

    def full(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        save(MOVIE, target)
    assert [file.name for file in tmp_path.iterdir()] == [target.name]
    assert target.read_text(encoding="utf-8") == "the file of before"


@ALL
def test_texts_of_users_are_text_everywhere(one: Any) -> None:
    names = {"scenes": dict(enumerate(HOSTILE)), "acts": {0: HOSTILE[1]}}
    times = [1000 * (shot + 1) for shot in range(len(HOSTILE))]
    source = {"frame_rate": Fraction(25), "captions": HOSTILE, "name": HOSTILE[0]}
    movie = result(times, ends=range(len(HOSTILE) - 1), tps=[2], names=names, **source)
    for title in HOSTILE:
        text = export(movie, one.name, title=title, media=title).decode("utf-8")  # and no lone surrogates
        if one.name != "json":
            assert not set(text) & {chr(code) for code in range(32) if chr(code) not in "\n\r\t"}
    if one.suffix.endswith("xml"):
        ElementTree.fromstring(text)


@ALL
def test_results_without_times_are_refused_or_told_without_times(one: Any) -> None:
    movie = result([1000, 2000, 3000], base=None, ends=[0])
    if one.timed:
        with pytest.raises(FeatureError, match="times: expected a result with the times of its shots, got none"):
            export(movie, one.name, frame_rate=25)
    else:
        assert export(movie, one.name)


@settings(max_examples=40, deadline=None)
@given(films())
def test_csv(film: tuple[Segmentation, FrameRate, list[int]]) -> None:
    movie, rate, frames = film
    rows = list(csv.DictReader(io.StringIO(export(movie, "csv").decode())))
    assert [int(row["Start Frame"]) - 1 for row in rows] == frames[:-1]
    assert [int(row["End Frame"]) for row in rows] == frames[1:]
    assert movie.time_base is not None
    starts = [decimal(scene.start_ticks * movie.time_base) for scene in movie.scenes if scene.start_ticks is not None]
    assert [row["Start Time (seconds)"] for row in rows] == starts
    clocks = [row["Start Timecode"].split(":") for row in rows]
    assert [
        decimal(Fraction(hours) * 3600 + Fraction(minutes) * 60 + Fraction(seconds))
        for hours, minutes, seconds in clocks
    ] == starts
    assert [row["Act"] != "" for row in rows] == [bool(movie.acts)] * len(rows)
    assert [(int(row["First Shot"]), int(row["Last Shot"])) for row in rows] == [
        (scene.first_shot, scene.last_shot) for scene in movie.scenes
    ]
    assert str(rate)


def test_csv_is_a_list_of_shots_to_every_command_that_takes_one(tmp_path: Path) -> None:
    save(MOVIE, tmp_path / "a.csv")
    info = VideoInfo(640, 360, 0, "h264", Fraction(1, 25), 0, Fraction(25), None, (), (), None)
    assert read_shots(tmp_path / "a.csv", np.arange(76), info).tolist() == [[0, 24], [25, 49], [50, 74]]


def test_csv_without_times_has_shots_and_scores() -> None:
    (row, _) = csv.DictReader(io.StringIO(export(result([1000, 2000], base=None, ends=[0]), "csv").decode()))
    assert (row["Start Frame"], row["Start Timecode"], row["Last Shot"], row["Score"]) == ("", "", "0", "1.000000")


def test_json_is_the_result() -> None:
    assert json.loads(export(MOVIE, "json")) == json.loads(MOVIE.to_json())

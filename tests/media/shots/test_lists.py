"""Lists of shots as other programs write them, and as they are written."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from megaseg.errors import FeatureError
from megaseg.media.shots.lists import SUFFIXES, read_shots, write_shots
from megaseg.media.video import VideoInfo

BASE = Fraction(1, 600)


def info(rate: Fraction | int = 24, timecode: str | None = None) -> VideoInfo:
    return VideoInfo(640, 360, 0, "h264", BASE, 0, Fraction(rate), None, (), (), timecode)


def ticks(frames: int = 240, rate: int = 24, begin: int = 0) -> np.ndarray:
    return begin + np.arange(frames + 1, dtype=np.int64) * (600 // rate)


def read(folder: Path, name: str, text: str, times: np.ndarray | None = None, **of_film: object) -> list[list[int]]:
    path = folder / name
    path.write_bytes(text.encode())
    return read_shots(path, ticks() if times is None else times, info(**of_film)).tolist()  # type: ignore[arg-type]


PYSCENEDETECT = """Timecode List:,00:00:02.000,00:00:05.000
Scene Number,Start Frame,Start Timecode,Start Time (seconds),End Frame,End Timecode,End Time (seconds),Length (frames)
1,1,00:00:00.000,0.000,48,00:00:02.000,2.000,48
2,49,00:00:02.000,2.000,120,00:00:05.000,5.000,72
3,121,00:00:05.000,5.000,240,00:00:10.000,10.000,120
"""
SHOTS = [[0, 47], [48, 119], [120, 239]]


@pytest.mark.parametrize("change", [("", ""), (",", ";"), (",", "\t"), ("\n", "\r\n"), ("Timecode", "\ufeffTimecode")])
def test_pyscenedetect(tmp_path: Path, change: tuple[str, str]) -> None:
    text = PYSCENEDETECT if change == ("", "") else PYSCENEDETECT.replace(*change)
    assert read(tmp_path, "a.csv", text) == SHOTS
    without_cuts = text.split("\n", 1)[1]
    assert read(tmp_path, "a.CSV", without_cuts) == SHOTS


def test_seconds_where_the_rate_varies_or_there_are_no_frames(tmp_path: Path) -> None:
    uneven = np.concatenate([np.arange(0, 1200, 50), np.arange(1200, 6001, 25)])  # 12 frames/s for 2 s, then 24
    assert read(tmp_path, "a.csv", PYSCENEDETECT, uneven) == [[0, 23], [24, 95], [96, 215]]
    only = "Start Time (seconds),End Time (seconds)\n0.01,2.001\n2,9.99\n"
    assert read(tmp_path, "a.csv", only) == [[0, 47], [48, 239]]


def test_transnet_list_with_gaps(tmp_path: Path) -> None:
    assert read(tmp_path, "a.scenes.txt", "0 47\n\n50 119\n120 239\n") == [[0, 47], [50, 119], [120, 239]]


EDL = """TITLE: film
FCM: NON-DROP FRAME

001  AX       V     C        00:00:00:00 00:00:02:00 01:00:00:00 01:00:02:00
* FROM CLIP NAME: 1.mov
002  AX       AA    C        00:00:00:00 00:00:10:00 01:00:00:00 01:00:10:00
003  AX       V     C        00:00:02:00 00:00:02:00 01:00:02:00 01:00:02:00
003  BX       V     D    024 00:00:02:00 00:00:05:00 01:00:02:00 01:00:05:00
004  AX       AA/V  C        00:00:05:00 00:00:10:00 01:00:05:00 01:00:10:00
"""


@pytest.mark.parametrize("timecode", [None, "01:00:00:00"])
def test_edl_with_a_dissolve(tmp_path: Path, timecode: str | None) -> None:
    assert read(tmp_path, "a.edl", EDL, timecode=timecode) == [[0, 59], [60, 119], [120, 239]]


def test_edl_from_the_films_timecode(tmp_path: Path) -> None:
    later = "001 AX V C 00:00:01:00 00:00:02:00 10:00:01:00 10:00:02:00\n"
    assert read(tmp_path, "a.edl", later, timecode="10:00:00:00") == [[24, 47]]
    assert read(tmp_path, "a.edl", later) == [[0, 23]]


def test_drop_frame_leaves_out_numbers(tmp_path: Path) -> None:
    text = (
        "FCM: DROP FRAME\n001 AX V C 0:0:0:0 0:0:0:0 00:00:00:00 00:01:00:02\n002 AX V C X X 00:01:00:02 00:01:10:00\n"
    )
    text = text.replace("0:0:0:0", "00:00:00:00").replace("X X", "00:00:00:00 00:00:00:00")
    rate = Fraction(30000, 1001)
    times = np.round(np.arange(2098) * float(600 / rate)).astype(np.int64)
    assert read(tmp_path, "a.edl", text, times, rate=rate) == [[0, 1799], [1800, 2096]]
    semicolons = text.replace("FCM: DROP FRAME\n", "").replace(":02 ", ";02 ").replace(":02\n", ";02\n")
    assert read(tmp_path, "a.edl", semicolons, times, rate=rate)[0] == [0, 1799]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("times", [ticks(), ticks(begin=300), np.cumsum([0, *[25, 30, 20, 50] * 60])])
def test_what_is_written_is_read(tmp_path: Path, suffix: str, times: np.ndarray) -> None:
    shots = np.array(SHOTS)
    path = tmp_path / f"film{suffix}"
    write_shots(path, shots, times, info())
    np.testing.assert_array_equal(read_shots(path, times, info()), shots)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_columns_are_those_of_pyscenedetect(tmp_path: Path) -> None:
    write_shots(tmp_path / "a.csv", np.array(SHOTS[:2]), ticks(), info())
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[0].startswith("Scene Number,Start Frame,Start Timecode,Start Time (seconds),End Frame")
    assert lines[2] == "2,49,00:00:02.000,2.000,120,00:00:05.000,5.000,72,00:00:03.000,3.000"


def test_json_has_seconds_and_ticks(tmp_path: Path) -> None:
    write_shots(tmp_path / "a.json", np.array(SHOTS[:1]), ticks(begin=300), info())
    document = json.loads((tmp_path / "a.json").read_text())
    assert document["time_base"] == [1, 600]
    shot = {"first": 0, "last": 47, "start": 0.5, "end": 2.5, "start_tick": 300, "end_tick": 1500}
    assert document["shots"] == [shot]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.doc", "", "expected a list of shots"),
        ("a.csv", "", "expected a header"),
        ("a.csv", "Scene Number,Start Frame\n1,2\n", "expected columns Start Frame and End Frame"),
        ("a.csv", PYSCENEDETECT.replace("2,49", "2,x"), "line 4: expected numbers"),
        ("a.csv", PYSCENEDETECT.replace("2,49", "2,nan"), "line 4: expected numbers"),
        ("a.csv", PYSCENEDETECT.replace("2,49", "2,1"), "do not overlap, got frames 0 to 47 and 0 to 119"),
        ("a.txt", "0 9 8\n", "line 1: expected first and last frame, got '0 9 8'"),
        ("a.txt", "", "expected shots, got none"),
        ("a.txt", "0 9\n300 310\n", "within the film's frames 0 to 239, got 300 to 310"),
        ("a.txt", "9 0\n", "within the film's frames 0 to 239, got 9 to 0"),
        ("a.txt", "0 99999999999999999999\n", "a.txt"),
        ("a.csv", PYSCENEDETECT.replace("2,49", "2,1e300"), "too large"),
        ("a.csv", PYSCENEDETECT.replace("2,49", '2,"' + "4" * 200_000), "field larger"),
        ("a.edl", "TITLE: x\n", "expected events of CMX 3600, got none"),
        ("a.edl", "001 AX V C 1 2 3 4\n", "line 1: expected an event"),
        ("a.edl", EDL.replace("01:00:05:00", "01:00:05:24"), "expected a timecode at 24 frames a second"),
        ("a.json", "[]", "expected {"),
        ("a.json", '{"shots": [{"first": 0.5, "last": 2}]}', "expected integers"),
    ],
)
def test_wrong_lists_name_the_file_and_the_reason(tmp_path: Path, name: str, text: str, reason: str) -> None:
    with pytest.raises(FeatureError) as error:
        read(tmp_path, name, text)
    assert str(error.value).startswith(str(tmp_path / name))
    assert reason in str(error.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match=r"none\.csv"):
        read_shots(tmp_path / "none.csv", ticks(), info())
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe0 1")
    with pytest.raises(FeatureError, match=r"a\.txt"):
        read_shots(tmp_path / "a.txt", ticks(), info())
    with pytest.raises(FeatureError, match=r"expected one of \.csv"):
        write_shots(tmp_path / "a.doc", np.array(SHOTS), ticks(), info())

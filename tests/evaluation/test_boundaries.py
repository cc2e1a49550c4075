"""Boundaries read from files: what was exported comes back, other programs' files are read, bad ones are named."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megaseg import Segmentation
from megaseg.engine.results.schema import Decision
from megaseg.engine.results.source import Source
from megaseg.errors import FeatureError
from megaseg.evaluation.boundaries import read_boundaries
from megaseg.export import export, format_of

RATES = [Fraction(24), Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(50), Fraction(60000, 1001)]
# What a format can tell apart, in seconds; frames where it counts frames.
CLOCKS = {"json": 0, "csv": 1e-3, "ffmetadata": 1e-6, "matroska": 1e-9, "vtt": 1e-3, "ogm": 1e-3, "kodi": 1e-3}
FRAMES = ("edl", "resolve", "otio", "fcpxml", "fcp7", "premiere", "avid")
PARTS = [10, 33.5, 70]


@st.composite
def films(draw: st.DrawFn) -> Segmentation:
    """A film with scenes of at least a second, of frames at a rate that editors know, and perhaps a start timecode."""
    rate = draw(st.sampled_from(RATES))
    lengths = draw(st.lists(st.integers(100, 60_000), min_size=2, max_size=12))
    base = 1 / rate
    ends = np.cumsum(lengths)
    times = np.stack([[0, *ends[:-1]], ends], axis=1).astype(np.int64)
    locked = draw(st.lists(st.integers(0, len(lengths) - 2), unique=True))
    drop = rate.denominator == 1001 and rate.numerator != 24000 and draw(st.booleans())
    own = Segmentation.from_scores("scene", np.zeros(len(ends), np.float32), Decision(locked=locked), times, base)
    timecode = draw(st.sampled_from([None, "01:00:00;00" if drop else "01:00:00:00"]))
    names = {"scenes": {0: 'A "<&>|,;\n= #1'}}
    return Segmentation(own.tracks, own.times, own.time_base, (), Source("film.mp4", rate, timecode), names)


@settings(max_examples=10, deadline=None)
@pytest.mark.parametrize("name", [*CLOCKS, *FRAMES])
@given(film=films())
def test_what_was_exported_is_read(name: str, film: Segmentation, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("film")
    (folder / "result.json").write_text(film.to_json())
    path = folder / f"film{format_of(name).suffix}"
    path.write_bytes(export(film, name))
    result, found = read_boundaries(folder / "result.json", path)
    assert result.seconds is not None
    assert found.seconds is not None
    assert len(found.seconds) == len(result.seconds)
    apart = max((abs(a - b) for a, b in zip(found.seconds, result.seconds, strict=True)), default=0)
    assert apart <= CLOCKS.get(name, 0)


@pytest.mark.parametrize(
    "text",
    [
        "10\n33.5\n70\n",
        "# by hand\n\n0:10\n0:33.5 the harbour\n1:10,\n",
        "0:00 Start\n0:00:10 A\n00:00:33,500 B\n0:01:10 C",
        "10 10 2\n33.5 33.5 2\n70 70 2\n",
        "[0, 10, 33.5, 70]",
        "Timecode List:,0:10\nScene Number,Start Time (seconds),End Time (seconds)\n1,0,10\n2,10,33.5\n"
        "3,33.5,70\n4,70,90",
        "scene number;start time (seconds)\n1;0\n2;10\n3;33.5\n4;70\n",
        ";FFMETADATA1\ntitle=x\n[CHAPTER]\nTIMEBASE=1/10\nSTART=0\nEND=100\ntitle=[a]\n[CHAPTER]\nTIMEBASE=1/10\nSTART=100\n"
        "END=335\n[CHAPTER]\nSTART=33500000000\nEND=1\n[CHAPTER]\nTIMEBASE=1/1\nSTART=70\nEND=90\n[STREAM]\nSTART=3",
        "WEBVTT\n\n1\n00:00.000 --> 00:10.000 align:start\nA\n\n00:10.000 --> 00:33.500\nB\n\n"
        "00:33.500 --> 00:01:10.000\nC\n\n00:01:10.000 --> 00:01:30.000\nD --> E",
        "CHAPTER1=00:00:00.000\nCHAPTER1NAME=A\nCHAPTER02=00:00:10.000\nchapter03=00:00:33.500\nCHAPTER04=00:01:10.000",
        "<?xml version='1.0'?><Chapters><EditionEntry><ChapterAtom><ChapterTimeStart>00:00:00</ChapterTimeStart>"
        + "".join(
            f"<ChapterAtom><ChapterTimeStart>00:{t}</ChapterTimeStart></ChapterAtom>"
            for t in ("00:00", "00:10.0", "00:33.5", "01:10.000000000")
        )
        + "</ChapterAtom></EditionEntry><EditionEntry/></Chapters>",
        "TITLE: x\nFCM: NON-DROP FRAME\n\n001  AX V C 00:00:00:00 00:00:10:00 01:00:00:00 01:00:10:00\n* a note\n"
        "002 AX V C 00:00:00:00 00:00:23:12 01:00:10:00 01:00:33:12\n"
        "002 AX A C 00:00:00:00 00:00:23:12 01:00:12:00 01:00:33:12\n"
        "003 AX V C 00:00:00:00 00:00:00:00 01:00:33:12 01:00:33:12\n"
        "003 BX V D 010 00:00:00:00 00:00:36:17 01:00:33:07 01:01:10:00\n"
        "004 AX V C 00:00:00:00 00:00:20:00 01:01:10:00 01:01:30:00\n",
        "TITLE: markers\n001 001 V C 01:00:10:00 01:00:10:01 01:00:10:00 01:00:10:01\n |C:ResolveColorBlue |M:A |D:1\n"
        "002 001 V C 01:00:20:00 01:00:20:01 01:00:20:00 01:00:20:01\n |C:ResolveColorRed |M:point |D:1\n\n"
        "003 001 V C 01:00:33:12 01:00:33:13 01:00:33:12 01:00:33:13\n |C:ResolveColorCyan |M:B |D:1\n\n"
        "004 001 V C 01:01:10:00 01:01:10:01 01:01:10:00 01:01:10:01\n |C:ResolveColorCyan |M:C |D:1\n",
    ],
)
def test_files_of_other_programs(text: str, tmp_path: Path) -> None:
    path = tmp_path / "film.txt"
    path.write_text(text)
    (found,) = read_boundaries(path, frame_rate="24")
    expected = PARTS if not text.startswith("TITLE: markers") else [33.5, 70]
    assert [float(second) for second in found.seconds or ()] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected at least one part"),
        ("10\nsoon\n", "line 2: expected a time such as 754.2 or 0:12:34.2, got 'soon'"),
        ("-3\n", "line 1: expected a time"),
        ("1e999999999\n", "line 1: expected a time"),
        ("[1, null]", "expected a list of seconds, got None in it"),
        ("[1, ", "expected a list of seconds"),
        ("{}", "schema: expected"),
        ('{"OTIO_SCHEMA": "Timeline.1"}', "expected a timeline with a track of pictures"),
        ("Start Time (seconds),x\n,1\n", "row 1: expected Start Time"),
        (";FFMETADATA1\n[CHAPTER]\nEND=3\n", "chapter 1: expected START="),
        ("<Chapters>", "expected well-formed XML"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><Chapters>&b;</Chapters>", "without entities of its own"),
        ("<Chapters><EditionEntry><ChapterAtom/></EditionEntry></Chapters>", "chapter 1: expected a time"),
        ("<fcpxml/>", "expected a sequence"),
        ("<VMAP/>", "expected chapters or clips of an editor, got other XML: '<VMAP/>'"),
        ("Marker Name,In,Out,Marker Type\na,0:10,0:20,Comment\n", "row 1: frame_rate: expected one for a list of time"),
        (
            "<fcpxml><sequence><spine><clip offset='a' duration='1s'/></spine></sequence></fcpxml>",
            "1001/24000s, got 'a'",
        ),
        ("<xmeml/>", "expected a sequence"),
        ("<xmeml><sequence><media><video><track/></video></media></sequence></xmeml>", "expected a timebase, got ''"),
        (
            "1 AX V C 00:00:00:00 00:00:10:00 00:00:00:00 00:00:10:00",
            "frame_rate: expected one for a list of timecodes",
        ),
    ],
)
def test_bad_files_are_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "film.txt").write_text(text)
    with pytest.raises(FeatureError, match=message) as told:
        read_boundaries(tmp_path / "film.txt")
    assert str(told.value).startswith(str(tmp_path / "film.txt"))


def test_files_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"\x00\xff\xfe")
    with pytest.raises(FeatureError, match="got binary data"):
        read_boundaries(tmp_path / "film.mp4")
    with pytest.raises(FeatureError, match="expected a readable file"):
        read_boundaries(tmp_path)


def test_a_result_s_track_and_shots(tmp_path: Path) -> None:
    plain = Segmentation.from_scores("scene", np.zeros(6, np.float32), Decision(locked=[1, 3]))
    (tmp_path / "r.json").write_text(plain.to_json())
    (found,) = read_boundaries(tmp_path / "r.json")
    assert (found.seconds, found.shots) == (None, (1, 3))
    with pytest.raises(FeatureError, match=r"r\.json: track: expected scenes, got 'acts'"):
        read_boundaries(tmp_path / "r.json", track="acts")


SEEDS = [
    "0:10 a\n",
    "[1, 2]",
    "Start Time (seconds),End Time (seconds)\n0,1\n1,2\n",
    ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/10\nSTART=0\nEND=100\n",
    "WEBVTT\n\n00:00.000 --> 00:10.000\na\n",
    "CHAPTER01=00:00:00.000\n",
    "<Chapters><EditionEntry><ChapterAtom><ChapterTimeStart>00:00:00</ChapterTimeStart></ChapterAtom></EditionEntry></Chapters>",
    "001 AX V C 00:00:00:00 00:00:10:00 01:00:00:00 01:00:10:00\n",
    "Marker Name\tIn\tOut\tMarker Type\na\t00:00:01:00\t00:00:02:00\tComment\n",
    "megaseg\t01:00:00:00\tV1\tgreen\tA\t1\nmegaseg\t01:00:09:00\tV1\tgreen\tA\t1\n",
    '{"OTIO_SCHEMA": "Timeline.1", "tracks": {"children": [{"kind": "Video", "children": [{"OTIO_SCHEMA": "Clip.1", '
    '"source_range": {"duration": {"value": 2, "rate": 24}}}]}]}}',
    "<fcpxml><sequence tcStart='0s'><spine><clip offset='0s' duration='1/24s'/></spine></sequence></fcpxml>",
    "<xmeml><sequence><rate><timebase>24</timebase><ntsc>TRUE</ntsc></rate><media><video><track><clipitem><start>0</start>"
    "<end>9</end></clipitem></track></video></media></sequence></xmeml>",
]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.sampled_from(SEEDS),
    edits=st.lists(st.tuples(st.integers(0, 400), st.text("0129 -:;,./[]{}<>\"'=\nnulsNaE", max_size=4)), max_size=4),
)
def test_any_text_is_read_or_refused(
    seed: str, edits: list[tuple[int, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = seed
    for place, put in edits:
        place %= len(text) + 1
        text = text[:place] + put + text[place + len(put) // 2 :]
    path = tmp_path_factory.getbasetemp() / "text"
    path.write_text(text)
    try:
        (found,) = read_boundaries(path, frame_rate="24")
    except FeatureError:
        return
    assert found.seconds is not None
    assert list(found.seconds) == sorted(set(found.seconds))

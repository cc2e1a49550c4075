"""Chapters of every kind, read back by programs that are not ours: the same scenes, to the format's own clock."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree as ET
from fractions import Fraction
from pathlib import Path

import av
import pysubs2
import pytest
from hypothesis import HealthCheck, given, settings
from timelines import HOSTILE, named_films
from timelines import result as film

from megaseg.engine.results.segmentation import Segmentation
from megaseg.export import Timeline, export
from megaseg.export.text import one_line

TITLE = " ".join(HOSTILE)
Rows = list[tuple[Fraction, Fraction | None, str]]  # start, end and name of each chapter

needs_mkvmerge = pytest.mark.skipif(shutil.which("mkvmerge") is None, reason="mkvmerge: package mkvtoolnix")
FAST = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
SLOW = settings(FAST, max_examples=6)


def expected(result: Segmentation, digits: int, **options: object) -> Rows:
    """The scenes on a clock of so many decimals, halves up."""

    def rounded(seconds: Fraction) -> Fraction:
        return Fraction(math.floor(seconds * 10**digits + Fraction(1, 2)), 10**digits)

    scenes = Timeline.of(result, **options).scenes
    return [(rounded(part.start), rounded(part.end), one_line(part.name)) for part in scenes]


def libav_chapters(path: Path, kind: str | None = None) -> Rows:
    with av.open(str(path), format=kind) as container:
        found = container.chapters()
    return [
        (one["start"] * one["time_base"], one["end"] * one["time_base"], one["metadata"].get("title", ""))
        for one in found
    ]


def muxed(data: bytes, suffix: str) -> Rows:
    """Chapters as mkvmerge understands a file of them, beside one line of subtitles."""
    with tempfile.TemporaryDirectory() as folder:
        source, target, lines = (Path(folder) / name for name in (f"in{suffix}", "out.mks", "in.srt"))
        source.write_bytes(data)
        lines.write_text("1\n00:00:01,000 --> 00:00:02,000\nA line.\n")
        charset = ["--chapter-charset", "UTF-8"]
        subprocess.run(["mkvmerge", "-q", "-o", target, *charset, "--chapters", source, lines], check=True)
        return libav_chapters(target)


@FAST
@given(named_films())
def test_ffmetadata_is_read_by_ffmpeg(result: Segmentation) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.txt"
        path.write_bytes(export(result, "ffmetadata", title=TITLE))
        kept = [(*times, name + " " * name.endswith("\\")) for *times, name in expected(result, 6)]
        assert libav_chapters(path, "ffmetadata") == kept
        with av.open(str(path), format="ffmetadata") as container:
            assert container.metadata["title"] == one_line(TITLE)


@needs_mkvmerge
@SLOW
@given(named_films())
def test_matroska_is_read_by_mkvmerge(result: Segmentation) -> None:
    assert muxed(export(result, "matroska"), ".chapters.xml") == expected(result, 9)


@needs_mkvmerge
@SLOW
@given(named_films())
def test_ogm_is_read_by_mkvmerge(result: Segmentation) -> None:
    starts = [(start, name) for start, _, name in expected(result, 3)]
    assert [(start, name) for start, _, name in muxed(export(result, "ogm"), ".ogm.txt")] == starts


@FAST
@given(named_films())
def test_matroska_has_the_elements_of_its_specification(result: Segmentation) -> None:
    root = ET.fromstring(export(result, "matroska").decode())
    atoms = root.findall("EditionEntry/ChapterAtom")
    numbers = [int(atom.findtext("ChapterUID", "")) for atom in atoms]
    assert numbers == list(range(1, len(atoms) + 1)), "an identifier of 0 is none"
    names = [atom.findtext("ChapterDisplay/ChapterString", "") for atom in atoms]
    assert names == [name for _, _, name in expected(result, 9)]
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d\.\d{9}", atom.findtext("ChapterTimeStart", "")) for atom in atoms)


@FAST
@given(named_films())
def test_webvtt_is_read_by_two_programs(result: Segmentation) -> None:
    webvtt = pytest.importorskip("webvtt")
    text = export(result, "vtt").decode()
    rows = [row for row in expected(result, 3) if row[0] < row[1]]
    cues = list(webvtt.from_string(text))
    seconds = [
        [Fraction(1, 1000) * pysubs2.time.timestamp_to_ms(re.findall(r"\d+", t)) for t in (c.start, c.end)]
        for c in cues
    ]
    assert [(*times, unescaped(cue.text)) for times, cue in zip(seconds, cues, strict=True)] == rows
    events = pysubs2.SSAFile.from_string(text, format_="vtt").events
    assert [(Fraction(one.start, 1000), Fraction(one.end, 1000)) for one in events] == [row[:2] for row in rows]


def unescaped(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def youtube_chapters(text: str) -> list[tuple[int, str]]:
    """Lines of a description that begin with a time, as YouTube's help describes them."""
    rows = []
    for line in text.splitlines():
        found = re.fullmatch(r"(?:(\d+):)?(\d\d?):(\d\d)(?: (.*))?", line)
        assert found, line
        rows.append((int(found[1] or 0) * 3600 + int(found[2]) * 60 + int(found[3]), found[4] or ""))
    return rows


@FAST
@given(named_films())
def test_youtube_shows_the_chapters(result: Segmentation) -> None:
    rows = youtube_chapters(export(result, "youtube").decode())
    assert rows[0][0] == 0
    assert not any("<" in name or ">" in name for _, name in rows)
    starts, end = [start for start, _ in rows], expected(result, 0)[-1][1]
    all_starts = [int(start) for start, _, _ in expected(result, 0)]
    assert set(starts) <= {0, *all_starts}
    if len(rows) < len(all_starts):
        assert len(rows) >= 3
        assert all(b - a >= 10 for a, b in zip(starts, [*starts[1:], end], strict=True))


def test_youtube_has_room_for_all_chapters_of_a_long_film() -> None:
    said = ["What the lighthouse keeper says is longer than it needs to be, as ever"] * 150
    long = film([60_000 * (shot + 1) for shot in range(150)], ends=range(149), name="a.mp4", captions=said)
    text = export(long, "youtube").decode()
    assert len(text.encode()) <= 5000
    assert len(text.splitlines()) == 150
    assert "0:01:00 Scene 2 · What" in text
    short = film([20_000, 60_000, 90_000], ends=[0, 1], names={"scenes": {0: "n" * 900}})
    assert "n" * 900 in export(short, "youtube").decode()


def test_youtube_leaves_out_what_is_too_short_for_it() -> None:
    ends = [5, 30, 38, 60, 95, 100]
    result = film(ends, Fraction(1), ends=range(5))
    assert youtube_chapters(export(result, "youtube").decode()) == [
        *[(0, "Scene 1"), (30, "Scene 3"), (60, "Scene 5")],
    ]
    few = film([5, 9, 12], Fraction(1), ends=range(2))
    assert [start for start, _ in youtube_chapters(export(few, "youtube").decode())] == [0, 5, 9]


def kodi_markers(text: str) -> list[int]:
    """Scene markers in milliseconds, by the grammar of Kodi's page on edit decision lists: start, end, action."""
    markers = []
    for line in text.splitlines():
        start, end, action = line.split()
        assert action == "2", "only markers: an action of 3 would skip the film"
        assert start == end
        markers.append(round(float(end) * 1000))
    return markers


@FAST
@given(named_films())
def test_kodi_has_a_marker_where_each_scene_begins(result: Segmentation) -> None:
    assert kodi_markers(export(result, "kodi").decode()) == [row[0] * 1000 for row in expected(result, 3)]


@FAST
@given(named_films())
def test_jellyfin_reads_the_chapters_of_an_nfo(result: Segmentation) -> None:
    root = ET.fromstring(export(result, "jellyfin", title=TITLE).decode())
    assert (root.tag, root.findtext("title")) == ("movie", one_line(TITLE))
    rows = [(Fraction(one.attrib["start"]), one.attrib["name"]) for one in root.findall("chapters/chapter")]
    assert rows == [(start, name) for start, _, name in expected(result, 3)]


@pytest.mark.parametrize(("rate", "step"), [(24000, 1001), (30000, 1001), (60000, 1001), (90000, 3003)])
def test_nothing_drifts_in_three_hours(rate: int, step: int, tmp_path: Path) -> None:
    frames = 3 * 3600 * rate // step
    cuts = [frames // 3, frames // 2, frames - 1, frames]
    result = film([cut * step for cut in cuts], Fraction(1, rate), ends=range(3))
    path = tmp_path / "film.txt"
    path.write_bytes(export(result, "ffmetadata"))
    starts = [start for start, _, _ in libav_chapters(path, "ffmetadata")]
    assert [round(start * rate / step) for start in starts] == [0, *cuts[:3]]
    assert max(abs(start - Fraction(cut * step, rate)) for start, cut in zip(starts, [0, *cuts], strict=False)) < 1e-6


def test_an_offset_moves_every_chapter() -> None:
    result = film([1000, 2000, 3000], Fraction(1, 1000), ends=[0, 1])
    later = export(result, "kodi", offset="1.5").decode()
    assert kodi_markers(later) == [1500, 2500, 3500]
    assert kodi_markers(export(result, "kodi", offset=-1.5).decode()) == [0, 500]

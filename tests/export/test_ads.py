"""Ad breaks of results, and their files read back by programs that are not ours."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from timelines import named_films
from timelines import result as film

from megaseg.engine.results.segmentation import Segmentation
from megaseg.export import Timeline, export
from megaseg.export.ads.breaks import breaks
from megaseg.export.ads.rules import AdRules
from megaseg.export.ads.splice import crc32, splice_insert

MINUTE = 60
EVERYWHERE = AdRules(spacing=0, head=0, tail=0, per_hour=3600)
VMAP = "{http://www.iab.net/videosuite/vmap}"
PROPERTY = settings(max_examples=25, deadline=None)


def hour(**more: Any) -> Segmentation:
    """An hour of shots of five minutes each, every one a scene."""
    ends = [5 * MINUTE * (shot + 1) for shot in range(12)]
    return film(ends, Fraction(1), ends=range(11), **{"scores": [0.6] * 12, "name": "film.mp4", **more})


def shots_before(result: Segmentation, rules: AdRules) -> list[int]:
    return [one.shot for one in breaks(Timeline.of(result, ads=rules))]


def test_breaks_keep_the_rules_and_prefer_high_scores() -> None:
    scores = [0.6] * 12
    scores[3], scores[8] = 0.9, 0.8
    rules = AdRules(spacing=20 * MINUTE, head=6 * MINUTE, tail=6 * MINUTE, per_hour=2)
    assert shots_before(hour(scores=scores), rules) == [3, 9]  # 8 is nearer than 30 minutes
    assert shots_before(hour(scores=scores), AdRules(spacing=25 * MINUTE, head=6 * MINUTE)) == [3, 8]
    assert shots_before(hour(), EVERYWHERE) == list(range(11))
    assert shots_before(hour(), AdRules(spacing=0, head=0, tail=0, per_hour=0)) == []


def test_no_break_is_inside_speech() -> None:
    speech = np.array([[0, 299], [550, 650], [900, 1000], [1100, 1200]], dtype=np.int64)
    found = shots_before(hour(speech=speech), EVERYWHERE)
    assert 1 not in found  # at 600, inside
    assert found == [0, *range(2, 11)]  # at 300, after; at 900 and 1200, where speech begins and ends


def test_silence_and_the_middle_of_an_act_are_preferred() -> None:
    loudness = np.full(12, -20, np.float32)
    loudness[4] = -60
    once = AdRules(spacing=0, head=0, tail=0, per_hour=1)
    assert shots_before(hour(loudness=loudness), once) == [4]
    assert shots_before(hour(), once) == [0]
    assert shots_before(hour(tps=[0, 2]), once) == [1]
    (one,) = breaks(Timeline.of(hour(tps=[0, 2], loudness=loudness), ads=once))
    assert (one.shot, one.loudness, one.act_end, one.worth) == (4, -60.0, False, pytest.approx(0.6 + 0.5))


def test_an_act_that_ends_within_a_scene_ends_with_it() -> None:
    result = film(range(1000, 9000, 1000), Fraction(1), ends=[1, 3, 5], tps=[2])
    assert [one.act_end for one in breaks(Timeline.of(result, ads=EVERYWHERE))] == [False, True, False]


def test_an_offset_moves_breaks_and_leaves_the_rules_alone() -> None:
    plain = breaks(Timeline.of(hour(), ads=AdRules()))
    moved = breaks(Timeline.of(hour(), ads=AdRules(), offset=10))
    assert [one.seconds - 10 for one in moved] == [one.seconds for one in plain]
    early = breaks(Timeline.of(hour(), ads=EVERYWHERE, offset=-301))
    assert [(one.number, one.seconds) for one in early[:2]] == [(1, 299), (2, 599)]


@PROPERTY
@given(named_films())
def test_cues_are_a_table(result: Segmentation) -> None:
    text = export(result, "cues", ads=EVERYWHERE, frame_rate="25").decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    found = breaks(Timeline.of(result, ads=EVERYWHERE))
    assert [int(row["Cue"]) for row in rows] == list(range(1, len(found) + 1))
    assert all(abs(Fraction(row["Seconds"]) - one.seconds) * 2000 <= 1 for row, one in zip(rows, found, strict=True))
    for row, one in zip(rows, found, strict=True):
        hours, minutes, seconds, frames = map(int, row["Timecode"].split(":"))
        frame = ((hours * 60 + minutes) * 60 + seconds) * 25 + frames
        assert abs(frame - one.seconds * 25) * 2 <= 1


@PROPERTY
@given(named_films())
def test_vmap_has_the_breaks_of_its_schema(result: Segmentation) -> None:
    root = ET.fromstring(export(result, "vmap", ads=EVERYWHERE).decode())
    assert (root.tag, root.attrib) == (f"{VMAP}VMAP", {"version": "1.0"})
    found = breaks(Timeline.of(result, ads=EVERYWHERE))
    for element, one in zip(root, found, strict=True):
        assert (element.tag, element.attrib["breakType"]) == (f"{VMAP}AdBreak", "linear")
        hours, minutes, rest = element.attrib["timeOffset"].split(":")
        assert re.fullmatch(r"\d\d\.\d{3}", rest)
        assert abs(int(hours) * 3600 + int(minutes) * 60 + Fraction(rest) - one.seconds) * 2000 <= 1


@PROPERTY
@given(named_films(), st.sampled_from([0, 30, 119.5]))
def test_hls_is_read_by_m3u8(result: Segmentation, length: float) -> None:
    m3u8 = pytest.importorskip("m3u8")
    rules = AdRules(spacing=0, head=0, tail=0, per_hour=3600, length=length)
    playlist = m3u8.loads(export(result, "hls", ads=rules, media="/films/a film #1.mp4").decode())
    found = breaks(Timeline.of(result, ads=rules))
    assert len(playlist.segments) == len(found) + 1
    assert playlist.is_endlist
    assert all(segment.duration <= playlist.target_duration + 0.5 for segment in playlist.segments)
    total = sum(Fraction(str(segment.duration)) for segment in playlist.segments[: len(found)])
    if found:
        assert abs(total - found[-1].seconds) < Fraction(len(found), 10**6)
        assert all(segment.cue_out and segment.cue_in for segment in playlist.segments[1:])
        assert {float(segment.scte35_duration) for segment in playlist.segments[1:]} == {length}
    ranges = [one for segment in playlist.segments for one in segment.dateranges]
    assert [one.id for one in ranges] == [f"break-{one.number}" for one in found]
    assert all((one.planned_duration or 0) == length for one in ranges)
    assert {segment.uri.partition("#t=")[0] for segment in playlist.segments} == {"a%20film%20%231.mp4"}


@PROPERTY
@given(named_films(), st.sampled_from([0, 30, 119.5]))
def test_scte35_is_read_by_threefive(result: Segmentation, length: float) -> None:
    threefive = pytest.importorskip("threefive")
    rules = AdRules(spacing=0, head=0, tail=0, per_hour=3600, length=length)
    rows = json.loads(export(result, "scte35", ads=rules))
    found = breaks(Timeline.of(result, ads=rules))
    for row, one in zip(rows, found, strict=True):
        cue = threefive.Cue(row["base64"])
        assert cue.decode()
        command = cue.command
        assert command.name == "Splice Insert"
        assert (command.splice_event_id, command.avail_num) == (one.number, one.number)
        assert (command.out_of_network_indicator, command.splice_immediate_flag) == (True, False)
        assert abs(round(command.pts_time * 90000) - one.seconds * 90000) * 2 <= 1
        assert (command.break_duration or 0) == length
        assert row["hex"] == f"0x{base64.b64decode(row['base64']).hex().upper()}"


def test_splice_inserts_end_with_the_checksum_of_mpeg2() -> None:
    assert crc32(b"123456789") == 0x0376E6E7  # the check value of catalogues of CRCs
    section = splice_insert(7, Fraction(3), Fraction(30), 1, 2)
    assert crc32(section) == 0
    assert int.from_bytes(section[1:3], "big") & 0xFFF == len(section) - 3


def test_times_of_splice_inserts_wrap_after_26_hours() -> None:
    threefive = pytest.importorskip("threefive")
    cue = threefive.Cue(splice_insert(1, Fraction((1 << 33) + 90_000, 90_000), Fraction(0), 1, 1))
    assert cue.decode()
    assert cue.command.pts_time == 1.0


def test_files_without_breaks_are_whole() -> None:
    short = film([10, 20], Fraction(1), ends=[0])
    assert json.loads(export(short, "scte35")) == []
    assert len(ET.fromstring(export(short, "vmap"))) == 0
    assert export(short, "cues").decode().count("\n") == 1
    assert b"#EXTINF:20.000000," in export(short, "hls")

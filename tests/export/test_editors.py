"""Files of editors, read back by other programs: boundaries at the frames where they are, at every rate."""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from timelines import HOSTILE, RATES, STARTS, films, on_frames, result

from megaseg import Segmentation
from megaseg.errors import FeatureError
from megaseg.export import export
from megaseg.media.timecode import FrameRate, parse

# OpenTimelineIO's adapter asks elements for their truth, of which Python 3.12 and later warn.
pytestmark = pytest.mark.filterwarnings("ignore:Testing an element's truth value:DeprecationWarning")

otio = pytest.importorskip("opentimelineio", reason="opentimelineio is not installed")
few = settings(max_examples=60, deadline=None)
# What Apple's document type definition of FCPXML 1.8 allows below the elements that are written here.
CHILDREN = {
    "fcpxml": {"resources", "library"},
    "resources": {"format", "asset"},
    "library": {"event"},
    "event": {"asset-clip", "project"},
    "project": {"sequence"},
    "sequence": {"spine"},
    "spine": {"asset-clip", "gap"},
    "asset-clip": {"marker", "keyword"},
}
NEEDED = {
    "asset": {"id", "src"},
    "format": {"id"},
    "asset-clip": {"ref"},
    "sequence": {"format"},
    "gap": {"duration"},
    "marker": {"start", "value"},
    "keyword": {"value"},
}


def read(data: bytes, adapter: str, **options: Any) -> Any:
    """What an adapter of OpenTimelineIO makes of a file."""
    try:
        return otio.adapters.read_from_string(data.decode(), adapter, **options)
    except otio.exceptions.NoKnownAdapterForExtensionError as error:
        pytest.skip(str(error))


def bounds(clips: Sequence[Any]) -> list[int]:
    """Frames at which clips of one track begin, with the end of the last."""
    ranges = [clip.range_in_parent() for clip in clips]
    ends = [*(own.start_time for own in ranges), ranges[-1].end_time_exclusive()]
    assert all(end.value == round(end.value) for end in ends)
    return [round(end.value) for end in ends]


def sources(clips: Sequence[Any]) -> list[int]:
    """Frames of the film at which clips begin, with the end of the last, in the film's own timecode."""
    ranges = [clip.source_range for clip in clips]
    return [round(end.value) for end in (*(own.start_time for own in ranges), ranges[-1].end_time_exclusive())]


def clips_of(timeline: Any) -> list[Any]:
    return [item for item in timeline.video_tracks()[0] if isinstance(item, otio.schema.Clip)]


def started(rate: FrameRate, start: str) -> str:
    return start[:8] + ";" + start[9:] if rate.drop else start


@few
@given(films(), STARTS)
def test_edl(film: tuple[Segmentation, FrameRate, list[int]], start: str) -> None:
    movie, rate, frames = film
    start = started(rate, start)
    data = export(movie, "edl", title="Film", start_timecode=start, frame_rate=rate)
    timeline = read(data, "cmx_3600", rate=float(rate.exact))
    assert timeline.name == "Film"
    assert bounds(clips_of(timeline)) == frames
    assert sources(clips_of(timeline)) == [rate.number(start) + frame for frame in frames]
    assert (b"FCM: NON-DROP FRAME" in data) == (not rate.drop)
    if not rate.drop:  # the adapter's locators have colons only
        marks = [marker for clip in clips_of(timeline) for marker in clip.markers]
        assert [round(mark.marked_range.start_time.value) - rate.number(start) for mark in marks] == frames[:-1]


@few
@given(films(), STARTS)
def test_otio(film: tuple[Segmentation, FrameRate, list[int]], start: str) -> None:
    movie, rate, frames = film
    first = rate.number(started(rate, start))
    timeline = read(export(movie, "otio", start_timecode=started(rate, start), frame_rate=rate), "otio_json")
    assert timeline.global_start_time == otio.opentime.RationalTime(first, float(rate.exact))
    clips = clips_of(timeline)
    assert bounds(clips) == frames
    assert sources(clips) == [first + frame for frame in frames]
    films = {str(clip.available_range()) for clip in clips}
    assert films == {str(otio.opentime.TimeRange(clips[0].source_range.start_time, timeline.duration()))}
    assert all(clip.markers[0].marked_range.start_time == clip.source_range.start_time for clip in clips)
    assert timeline.range_of_child(clips[-1]).end_time_exclusive().value == frames[-1]
    scores = [clip.metadata["megaseg"]["score"] for clip in clips]
    assert scores == [1.0, *(float(segment.score) for segment in movie.scenes[:-1])]
    acts = [mark for mark in timeline.tracks.markers if mark.marked_range.duration.value]
    assert len(acts) == len(movie.acts)
    if acts:
        assert acts[-1].marked_range.end_time_exclusive().value == frames[-1]


@few
@given(films(), STARTS)
def test_fcp7(film: tuple[Segmentation, FrameRate, list[int]], start: str) -> None:
    movie, rate, frames = film
    start = started(rate, start)
    data = export(movie, "fcp7", start_timecode=start, frame_rate=rate, title="Film")
    timeline = read(data, "fcp_xml")
    assert timeline.name == "Film"
    assert timeline.global_start_time.value == rate.number(start)
    assert timeline.global_start_time.rate == pytest.approx(float(rate.exact), abs=0.01)
    clips = clips_of(timeline)
    assert bounds(clips) == frames
    points = [mark for mark in timeline.tracks.markers if not mark.marked_range.duration.value]
    scenes = [round(mark.marked_range.start_time.value) for mark in points if mark.name.startswith("Scene")]
    assert scenes == frames[:-1]
    xml = ElementTree.fromstring(data)
    assert xml.findtext("sequence/timecode/displayformat") == ("DF" if rate.drop else "NDF")
    assert xml.findtext("sequence/timecode/string") == start
    inside = [(int(clip.findtext("in") or ""), int(clip.findtext("out") or "")) for clip in xml.iter("clipitem")]
    assert inside == list(itertools.pairwise(frames))  # the source has no sound: one track


def seconds(text: str | None) -> Fraction:
    """A time of FCPXML."""
    assert text is not None
    assert text.endswith("s")
    return Fraction(text[:-1])


@few
@given(films(), STARTS)
def test_fcpxml(film: tuple[Segmentation, FrameRate, list[int]], start: str) -> None:
    movie, rate, frames = film
    start = started(rate, start)
    root = ElementTree.fromstring(export(movie, "fcpxml", start_timecode=start, frame_rate=rate))
    for parent in root.iter():
        assert {child.tag for child in parent} <= CHILDREN.get(parent.tag, set())
        assert NEEDED.get(parent.tag, set()) <= set(parent.attrib)
    first = rate.number(start) / rate.exact
    clips = root.findall(".//spine/asset-clip")
    for kind in ("offset", "start"):
        assert [seconds(clip.get(kind)) - first for clip in clips] == [frame / rate.exact for frame in frames[:-1]]
    ends = [seconds(clip.get("offset")) + seconds(clip.get("duration")) for clip in clips]
    assert [(end - first) * rate.exact for end in ends] == frames[1:]
    assert [seconds(clip.find("marker").get("start")) for clip in clips] == [  # type: ignore[union-attr]
        seconds(clip.get("start")) for clip in clips
    ]
    sequence = root.find(".//sequence")
    assert sequence is not None
    assert (seconds(sequence.get("tcStart")), sequence.get("tcFormat")) == (first, "DF" if rate.drop else "NDF")
    assert seconds(sequence.get("duration")) == frames[-1] / rate.exact
    assert {clip.get("tcFormat") for clip in root.iter("asset-clip")} == {sequence.get("tcFormat")}
    ranges = root.findall("./library/event/asset-clip/keyword")
    assert len(ranges) == len(movie.acts)
    assert sum(seconds(act.get("duration")) for act in ranges) == (frames[-1] / rate.exact if ranges else 0)
    within = root.findall(".//spine/asset-clip/keyword")
    assert sum(seconds(act.get("duration")) for act in within) == (frames[-1] / rate.exact if ranges else 0)


@pytest.mark.parametrize("text", RATES)
def test_three_hours_end_where_the_film_does(text: str) -> None:
    rate, base = parse(text), Fraction(1, 90_000)
    frames = [rate.frame(Fraction(60 * minute)) + minute % 7 for minute in range(1, 181)]
    source = {"name": "film.mp4", "frame_rate": rate.exact, "timecode": started(rate, "01:00:00:00")}
    movie = result(on_frames(rate, frames, base), base, range(179), **source)
    for name, adapter in (("edl", "cmx_3600"), ("otio", "otio_json"), ("fcp7", "fcp_xml")):
        options = {"rate": float(rate.exact)} if name == "edl" else {}
        timeline = read(export(movie, name), adapter, **options)
        clips = clips_of(timeline)
        assert bounds(clips) == [0, *frames], name
        end = clips[-1].range_in_parent().end_time_exclusive().to_seconds()
        assert end == pytest.approx(float(movie.times[-1, 1] * base), abs=0.03), name  # fcp7's rate is read as 29.97


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1000, 10_800_000), min_size=2, max_size=9, unique=True).map(sorted))
def test_a_variable_rate_is_counted_by_time(ends: list[int]) -> None:
    movie = result(ends, Fraction(1, 1000), range(len(ends) - 1), name="film.mp4", frame_rate=Fraction(287, 10))
    timeline = read(export(movie, "otio"), "otio_json")
    clips = clips_of(timeline)
    rate = Fraction(30000, 1001)
    seen = {round(clip.range_in_parent().end_time_exclusive().value) for clip in clips}
    assert seen >= {math.floor(end * rate / 1000 + Fraction(1, 2)) for end in ends} - {0}
    assert clips[0].source_range.start_time.rate == float(rate)


@pytest.mark.parametrize("rate", [24, 25, 30, 50, 60])
def test_fcpxml_as_opentimelineio_reads_it(rate: int) -> None:
    frames = [rate * 10, rate * 25 + 7, rate * 60 + 11, rate * 10_800]
    movie = result(frames, Fraction(1, rate), [0, 1, 2], [0, 1, 2], name="film.mp4", frame_rate=Fraction(rate))
    (timeline,) = read(export(movie, "fcpxml", title="Film"), "fcpx_xml")
    clips = clips_of(timeline)
    assert (timeline.name, len(clips), clips[0].media_reference.target_url) == ("Film", 4, "film.mp4")
    assert [clip.name for clip in clips] == [f"Scene {k} · Act {k}" for k in range(1, 5)]
    for ours, theirs in zip([0, *frames], bounds(clips), strict=True):
        assert abs(ours - theirs) <= 1  # the adapter counts in floats, downwards
    assert [clip.markers[0].name for clip in clips] == [clip.name for clip in clips]


RESOLVE = re.compile(
    r"^(\d{3,}) +001 +V +C +(\S+) (\S+) \2 \3 *\n(.*) \|C:ResolveColor(\w+) \|M:([^|]*) \|D:(\d+)$", re.M
)


@few
@given(films(), STARTS)
def test_resolve(film: tuple[Segmentation, FrameRate, list[int]], start: str) -> None:
    movie, rate, frames = film
    start = started(rate, start)
    text = export(movie, "resolve", start_timecode=start, frame_rate=rate).decode()
    markers = RESOLVE.findall(text)
    assert len(markers) == text.count("|C:")
    numbers = [rate.number(begin) - rate.number(start) for _, begin, *_ in markers]
    assert numbers == sorted(set(numbers)), "one marker a frame"
    assert all(rate.number(end) - rate.number(begin) == 1 for _, begin, end, *_ in markers)
    scenes = [number for number, mark in zip(numbers, markers, strict=True) if mark[5].startswith("Scene")]
    assert scenes == frames[:-1]
    told = " ".join(note + name for *_, note, _, name, _ in markers)
    assert all(point.name in told for point in movie.turning_points)


@few
@given(films(), STARTS, st.sampled_from(("premiere", "avid")))
def test_marker_lists(film: tuple[Segmentation, FrameRate, list[int]], start: str, name: str) -> None:
    movie, rate, frames = film
    start = started(rate, start)
    text = export(movie, name, start_timecode=start, frame_rate=rate).decode()
    rows: list[tuple[str, str, int]]
    if name == "premiere":
        rows = [
            (row["Marker Name"], row["In"], rate.number(row["Duration"])) for row in csv.DictReader(io.StringIO(text))
        ]
    else:
        lines = (line.split("\t") for line in text.splitlines())
        rows = [(words, time, int(length)) for _, time, _, _, words, length in lines]
    begins = [rate.number(time) - rate.number(start) for _, time, _ in rows]
    assert begins == sorted(begins)
    scenes = [row for row in zip(rows, begins, strict=True) if row[0][0].startswith("Scene")]
    assert [begin for _, begin in scenes] == frames[:-1]
    acts = sum(length for (words, _, length) in rows if words.startswith("Act"))
    assert acts == (frames[-1] if movie.acts else 0)
    assert sum(any(point.name == row[0].split(" (")[0] for row in rows) for point in movie.turning_points) == len(
        movie.turning_points
    )


def test_acts_are_coloured() -> None:
    movie = result([1000 * k for k in range(1, 7)], ends=[0, 2], tps=[0, 2], frame_rate=Fraction(25))
    clips = ElementTree.fromstring(export(movie, "fcpxml")).findall(".//spine/asset-clip")
    assert [clip.get("videoRole") for clip in clips] == ["Act 1", "Act 2", "Act 3"]
    colours = [colour for *_, colour, name, _ in RESOLVE.findall(export(movie, "resolve").decode()) if "Scene" in name]
    assert len(set(colours)) == 3
    points = ElementTree.fromstring(export(movie, "fcpxml")).findall(".//marker[@completed='0']")
    assert [point.get("value") for point in points] == ["turning point 1", "turning point 2"]


@pytest.mark.parametrize(("rate", "lead"), [("25", 23), ("59.94", 21), ("23.976", 45)])
def test_the_first_picture_is_frame_0_where_sound_leads_it(rate: str, lead: int) -> None:
    ends = on_frames(parse(rate), [100, 175, 2000], Fraction(1, 1000)) + lead
    starts = np.r_[lead, ends[:-1]]
    own = result(np.column_stack([starts, ends]), ends=(0, 1), frame_rate=parse(rate).exact, name="a.mkv")
    kept = read(export(own, "otio"), "otio_json")
    assert bounds(clips_of(kept)) == [0, 100, 175, 2000]
    first, _, last = csv.DictReader(export(own, "csv").decode().splitlines())
    assert (first["Start Frame"], first["End Frame"], last["End Frame"]) == ("1", "100", "2000")
    assert first["Start Time (seconds)"] == f"{lead / 1000:.3f}", "times stay those of the presentation"
    moved = read(export(own, "otio", offset=Fraction(-50) / parse(rate).exact), "otio_json")
    assert bounds(clips_of(moved)) == [0, 50, 125, 1950]


@pytest.mark.parametrize("name", ["resolve", "avid", "premiere", "fcp7"])
def test_acts_alone_are_marked_once_and_as_ranges(name: str) -> None:
    both = result([1000, 2000, 3000, 9000], tps=[0, 2], frame_rate=Fraction(25))
    text = export(replace(both, tracks={"acts": both.tracks["acts"]}), name).decode()
    marks = text[text.index("<marker>") :] if name == "fcp7" else text
    assert marks.count("Act 3 · after turning point 2") == 1
    ranges = {"resolve": "|D:150\n", "avid": "\t150\n", "premiere": "00:00:03:00,00:00:09:00", "fcp7": "<out>225</out>"}
    assert ranges[name] in marks


def test_gaps_between_shots_stay_gaps() -> None:
    movie = result([(0, 1000), (1480, 2000), (2000, 3000)], ends=[0, 1], frame_rate=Fraction(25))
    for name, adapter in (("edl", "cmx_3600"), ("otio", "otio_json"), ("fcp7", "fcp_xml"), ("fcpxml", "fcpx_xml")):
        timeline = read(export(movie, name), adapter, **({"rate": 25} if name == "edl" else {}))
        timeline = timeline[0] if name == "fcpxml" else timeline
        ranges = [clip.range_in_parent() for clip in clips_of(timeline)]
        assert [(own.start_time.value, own.duration.value) for own in ranges] == [(0, 25), (37, 13), (50, 25)], name


def test_a_scene_without_a_frame_is_left_out() -> None:
    movie = result([1000, 1005, 2000], ends=[0, 1], frame_rate=Fraction(25))
    timeline = read(export(movie, "edl"), "cmx_3600", rate=25)
    assert bounds(clips_of(timeline)) == [0, 25, 50]


def test_sound_is_cut_with_the_picture_where_the_film_has_some() -> None:
    movie = result([1000, 2000], ends=[0])  # nothing is known of the film
    timeline = read(export(movie, "fcp7", frame_rate=25), "fcp_xml")
    assert [len(track) for track in timeline.audio_tracks()] == [2, 2]
    assert bounds([*timeline.audio_tracks()[1]]) == bounds(clips_of(timeline)) == [0, 25, 50]


@pytest.mark.parametrize(
    ("media", "wanted"),
    [
        ("/films/The Harbour & 1 #2.mp4", "file:///films/The%20Harbour%20%26%201%20%232.mp4"),
        ("The Harbour.mp4", "The%20Harbour.mp4"),
        ("/films/\udce9t\udce9.mp4", "file:///films/%E9t%E9.mp4"),  # a name of other bytes than UTF-8
        ("https://example.org/a.mp4?b=c&d", "https://example.org/a.mp4?b=c&d"),
    ],
)
def test_media_is_a_url(media: str, wanted: str) -> None:
    movie = result([1000, 2000], ends=[0])
    for name, adapter in (("otio", "otio_json"), ("fcp7", "fcp_xml")):
        timeline = read(export(movie, name, frame_rate=25, media=media), adapter)
        assert clips_of(timeline)[0].media_reference.target_url == wanted


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_names_come_back_as_the_format_can_say_them(name: str) -> None:
    movie = result([1000, 2000], ends=[0], names={"scenes": {1: name}}, frame_rate=Fraction(25))
    plain = re.sub("[\x00-\x08\x1b\x85\ud800]", "\ufffd", name).replace("\r\n", "\n")
    for kind, adapter in (("otio", "otio_json"), ("fcp7", "fcp_xml"), ("fcpxml", "fcpx_xml")):
        timeline = read(export(movie, kind, title=name), adapter)
        timeline = timeline[0] if kind == "fcpxml" else timeline
        assert clips_of(timeline)[1].name.replace("\r\n", "\n") == plain
        assert timeline.name.replace("\r\n", "\n") == plain
    line = " ".join(re.sub("[\x00-\x08\x1b\ud800]", "\ufffd", name).split())  # the control \x85 breaks lines
    timeline = read(export(movie, "edl", title=name, media=f"/films/{name}".replace("</b>", "")), "cmx_3600", rate=25)
    clip = clips_of(timeline)[1]
    assert (len(clips_of(timeline)), timeline.name) == (2, line)
    assert [clip.name, clip.markers[0].name] == [line.replace("</b>", ""), line]


@pytest.mark.parametrize("name", ["edl", "resolve", "otio", "fcp7", "fcpxml", "premiere", "avid"])
def test_what_a_format_cannot_say(name: str) -> None:
    with pytest.raises(FeatureError, match="frame_rate: expected one such as 25 or 29.97df, got none"):
        export(result([1000, 2000]), name)
    with pytest.raises(FeatureError, match="frame_rate: expected a whole rate .*, got 28.7"):
        export(result([1000, 2000]), name, frame_rate="28.7")
    with pytest.raises(FeatureError, match="times: expected a result with the times of its shots, got none"):
        export(result([1000, 2000], base=None), name, frame_rate=25)
    with pytest.raises(FeatureError, match="times: expected a film of at most 1000000 seconds, got 2e"):
        export(result([1000, 2000], Fraction(10**40)), name, frame_rate=25)
    assert export(result([1000, 2000], frame_rate=Fraction(287, 10)), name), "a variable rate has a nearest one"
    assert parse("28.7").standard is False

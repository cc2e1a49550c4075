"""The timeline: names, acts, offsets, and the film's own clock."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from timelines import result

from megaseg.errors import FeatureError
from megaseg.export.text import one_line, shortened
from megaseg.export.timeline import Timeline
from megaseg.media.timecode import FrameRate

NTSC = Fraction(30000, 1001)
TIMES = [1000, 2000, 3000, 4000, 5000, 6000]
# Turning points end the shots 0 to 4: six acts of a shot each.
TPS = [0, 1, 2, 3, 4]


def test_parts_are_named_by_number_act_and_first_words() -> None:
    captions = ("", "Where were you, when the lights of the whole harbour went out at once?", "No.", "", "", "")
    film = Timeline.of(result(TIMES, ends=[0, 3], tps=TPS, captions=captions))
    assert [scene.name for scene in film.scenes] == [
        "Scene 1 · Act 1",
        "Scene 2 · Act 2 · Where were you, when the lights of the whole…",
        "Scene 3 · Act 5",
    ]
    assert [(scene.first_shot, scene.last_shot, scene.act) for scene in film.scenes] == [
        (0, 0, 1),
        (1, 3, 2),
        (4, 5, 5),
    ]
    assert film.scenes[1].caption == captions[1]
    assert [act.name for act in film.acts][:3] == [
        "Act 1",
        "Act 2 · after opportunity",
        "Act 3 · after change of plans",
    ]
    assert [(point.name, point.seconds) for point in film.points][:2] == [("opportunity", 0), ("change of plans", 1)]


def test_a_score_is_of_the_boundary_that_begins_a_part() -> None:
    movie = result(TIMES, ends=[0, 3])
    scores = [scene.score for scene in Timeline.of(movie).scenes]
    assert scores == [1.0, float(movie.scores[0]), float(movie.scores[3])]


def test_names_of_a_person_stay_as_they_are() -> None:
    names = {"scenes": {1: "The <harbour>\nat night", 2: "unused"}, "acts": {0: "Beginning"}}
    film = Timeline.of(result(TIMES, ends=[0, 3], tps=TPS, names=names))
    assert [scene.name for scene in film.scenes] == ["Scene 1 · Act 1", "The <harbour>\nat night", "Scene 3 · Act 5"]
    assert film.acts[0].name == "Beginning"


def test_acts_alone_are_the_parts() -> None:
    movie = result(TIMES, tps=[1, 3])
    movie = type(movie)({"acts": movie.tracks["acts"]}, movie.times, movie.time_base)
    film = Timeline.of(movie)
    assert film.scenes == film.acts
    assert [part.name for part in film.scenes] == [
        "Act 1",
        "Act 2 · after turning point 1",
        "Act 3 · after turning point 2",
    ]


def test_offsets_move_everything_and_nothing_lies_before_the_start() -> None:
    movie = result(TIMES, ends=[0, 3], tps=TPS)
    later = Timeline.of(movie, offset="1.5")
    assert [(part.start, part.end) for part in later.scenes] == [(1.5, 2.5), (2.5, 5.5), (5.5, 7.5)]
    assert later.duration == Fraction("7.5")
    earlier = Timeline.of(movie, offset=Fraction(-3, 2))
    assert [(part.number, part.start, part.end) for part in earlier.scenes] == [(2, 0, 2.5), (3, 2.5, 4.5)]
    assert [point.seconds for point in earlier.points] == [0.5, 1.5, 2.5]


def test_times_before_the_presentation_are_cut_off() -> None:
    film = Timeline.of(result([(-2000, -1000), (-1000, 500), (500, 1000)], ends=[0, 1], tps=[0]))
    assert [(part.number, part.start, part.end) for part in film.scenes] == [(2, 0, 0.5), (3, 0.5, 1)]
    assert film.points == ()


def test_an_empty_name_is_none() -> None:
    film = Timeline.of(result(TIMES, ends=[0], names={"scenes": {0: " \n", 1: ""}}))
    assert [part.name for part in film.scenes] == ["Scene 1", "Scene 2"]


@pytest.mark.parametrize(
    ("source", "options", "rate", "start"),
    [
        ({"frame_rate": Fraction(25)}, {}, FrameRate(Fraction(25)), 0),
        ({"frame_rate": Fraction(25), "timecode": "01:00:00:00"}, {}, FrameRate(Fraction(25)), 90_000),
        ({"frame_rate": NTSC, "timecode": "01:00:00;00"}, {}, FrameRate(NTSC, True), 107_892),
        ({"frame_rate": NTSC, "timecode": "01:00:00:00"}, {}, FrameRate(NTSC), 108_000),
        ({"frame_rate": Fraction(25), "timecode": "01:00:00;00"}, {}, FrameRate(Fraction(25)), 90_000),
        ({"frame_rate": Fraction(25), "timecode": "00:00:00:29"}, {}, FrameRate(Fraction(25)), 0),  # of another rate
        ({"frame_rate": Fraction(287, 10)}, {}, FrameRate(NTSC), 0),  # variable
        ({"frame_rate": Fraction(25)}, {"frame_rate": "29.97df"}, FrameRate(NTSC, True), 0),
        ({"frame_rate": Fraction(25)}, {"frame_rate": 29.97}, FrameRate(NTSC), 0),
        ({}, {"frame_rate": 24, "start_timecode": "00:00:10:12"}, FrameRate(Fraction(24)), 252),
        ({}, {"frame_rate": NTSC, "start_timecode": "00:01:00;02"}, FrameRate(NTSC, True), 1800),
        ({}, {}, None, 0),
    ],
)
def test_the_clock_is_the_films_own_or_the_given_one(
    source: dict[str, Any], options: dict[str, Any], rate: FrameRate | None, start: int
) -> None:
    film = Timeline.of(result(TIMES, **source), **options)
    assert (film.rate, film.start_frame) == (rate, start)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frame_rate": "fast"}, "frame_rate: expected frames a second"),
        ({"frame_rate": 25, "start_timecode": "1:00"}, "start_timecode: expected a timecode at 25 frames a second"),
        ({"frame_rate": 25, "start_timecode": "01:00:00;00"}, "frame_rate: expected 29.97 or 59.94 with drop-frame"),
        ({"start_timecode": "01:00:00:00"}, "frame_rate: expected one with start_timecode, got none"),
        ({"offset": "soon"}, "offset: expected seconds, got 'soon'"),
        ({"offset": "1e999999999"}, "offset: expected seconds"),
        ({"offset": float("nan")}, "offset: expected seconds"),
        ({"offset": "1/0"}, "offset: expected seconds"),
        ({"offset": -10}, "offset: expected one that leaves some of the film, got -10 seconds"),
        ({"offset": 10**9}, "offset: expected at most 1000000 seconds"),
    ],
)
def test_what_cannot_be_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        Timeline.of(result(TIMES), **options)


def test_title_and_media() -> None:
    movie = result(TIMES, name="The Harbour.mkv", size=(1920, 800))
    film = Timeline.of(movie)
    assert (film.title, film.media, film.size) == ("The Harbour", "The Harbour.mkv", (1920, 800))
    assert (Timeline.of(movie, media="/films/a.mp4").title, Timeline.of(result(TIMES)).title) == ("a", "Untitled")
    assert [Timeline.of(one).sound for one in (movie, result(TIMES))] == [False, True]


def test_lines_and_first_words() -> None:
    assert one_line(" a\u2028b\r\n\tc\x00\ud800 ") == "a b c\ufffd\ufffd"
    assert shortened("one two, three", 14) == "one two, three"
    assert shortened("one two, three", 13) == "one two…"
    assert shortened("one two, three", 8) == "one two…"
    assert shortened("abcdefgh", 5) == "abcd…"
    assert shortened("one… two three", 5) == "one…"

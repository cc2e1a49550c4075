"""Frames and timecodes: known values, another program's, and no drift over three hours."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megaseg.errors import FeatureError
from megaseg.media.timecode import (
    STANDARD,
    FrameRate,
    clock,
    conformed,
    counted,
    decimal,
    marks_drop,
    parse,
    snapped,
)

RATES = [*map(FrameRate, STANDARD), *(FrameRate(Fraction(30000 * k, 1001), drop=True) for k in (1, 2, 4))]
rates = pytest.mark.parametrize("rate", RATES, ids=str)


@pytest.mark.parametrize(
    ("rate", "frame", "timecode"),
    [
        ("25", 90_000, "01:00:00:00"),
        ("23.976", 86_400, "01:00:00:00"),  # an hour of timecode is 3.6 s longer than one of the clock
        ("29.97", 1800, "00:01:00:00"),
        ("29.97df", 1799, "00:00:59;29"),
        ("29.97df", 1800, "00:01:00;02"),
        ("29.97df", 17_981, "00:09:59;29"),
        ("29.97df", 17_982, "00:10:00;00"),
        ("29.97df", 107_892, "01:00:00;00"),
        ("59.94df", 3599, "00:00:59;59"),
        ("59.94df", 3600, "00:01:00;04"),
        ("59.94df", 215_784, "01:00:00;00"),
        ("29.97df", 2_589_408, "00:00:00;00"),  # a day
        ("25", -25, "23:59:59:00"),
        ("120", 119, "00:00:00:119"),
    ],
)
def test_known_timecodes(rate: str, frame: int, timecode: str) -> None:
    own = parse(rate)
    assert own.timecode(frame) == timecode
    day = own.number("23:59:59:00") + own.base
    assert own.number(timecode) == frame % day


@rates
@settings(max_examples=60, deadline=None)
@given(frame=st.integers(0, 800_000))  # less than a day
def test_timecodes_come_back_and_no_two_are_one(rate: FrameRate, frame: int) -> None:
    assert rate.number(rate.timecode(frame)) == frame
    assert rate.timecode(frame + 1) > rate.timecode(frame)


@pytest.mark.parametrize("text", ["23.976", "24", "25", "29.97", "29.97df", "30", "50", "59.94", "59.94df", "60"])
def test_timecodes_are_those_of_opentimelineio(text: str) -> None:
    time = pytest.importorskip("opentimelineio").opentime
    rate = parse(text)
    for frame in [*range(0, 400_000, 997), *range(1790, 1810), *range(17_970, 17_990)]:
        theirs = time.to_timecode(time.RationalTime(frame, float(rate.exact)), float(rate.exact), rate.drop)
        assert rate.timecode(frame) == theirs


@rates
@pytest.mark.parametrize("base", [Fraction(1, 1000), Fraction(1, 12_800), Fraction(1, 90_000), Fraction(1001, 30_000)])
def test_no_drift_over_three_hours(rate: FrameRate, base: Fraction) -> None:
    for frame in range(3 * 3600 * rate.base, 3 * 3600 * rate.base - 400, -1):
        assert rate.frame(rate.seconds(frame)) == frame
        if base < 1 / rate.exact / 2:
            assert rate.frame(round(rate.seconds(frame) / base) * base) == frame  # as containers round


def test_the_nearest_frame_halves_up() -> None:
    rate = FrameRate(Fraction(25))
    times = (Fraction(k, 100) for k in (0, 1, 2, 3, 5, 6, 7, 10))
    assert [rate.frame(time) for time in times] == [0, 0, 1, 1, 1, 2, 2, 3]


@pytest.mark.parametrize(
    ("text", "exact", "drop"),
    [
        ("25", "25", False),
        ("23.976", "24000/1001", False),
        ("23.98", "24000/1001", False),
        ("24000/1001", "24000/1001", False),
        (" 29.97 DF", "30000/1001", True),
        ("29.97ndf", "30000/1001", False),
        ("59.94006", "60000/1001", False),
        ("12.5", "25/2", False),
        ("28.7", "287/10", False),
    ],
)
def test_rates_as_people_write_them(text: str, exact: str, drop: bool) -> None:
    assert parse(text) == FrameRate(Fraction(exact), drop)


@pytest.mark.parametrize(
    "text", ["", "x", "25 fps", "-25", "0", "1/0", "0.1", "2000", "25df", "23.976df", "1e2", "nan"]
)
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(FeatureError, match="frame_rate: expected"):
        parse(text)


def test_rates_of_editors_for_rates_of_files() -> None:
    assert conformed(Fraction(2997, 100)) == Fraction(30000, 1001)
    assert conformed(Fraction(17)) == 17  # whole: editors can
    assert conformed(Fraction(287, 10)) == Fraction(30000, 1001)  # variable
    assert conformed(Fraction(1, 10)) == 10
    assert conformed(Fraction(90_000)) == 120  # a clock, no rate
    assert snapped(Fraction(287, 10)) == Fraction(287, 10)
    assert [FrameRate(rate).standard for rate in (Fraction(25), Fraction(24000, 1001), Fraction(287, 10))] == [1, 1, 0]


@pytest.mark.parametrize(
    "text", ["", "1:2:3", "00:00:00:25", "00:60:00:00", "00:00:60:00", "a0:00:00:00", "00:00:00.1"]
)
def test_what_is_no_timecode(text: str) -> None:
    with pytest.raises(FeatureError, match="expected a timecode at 25 frames a second, got"):
        counted(text, 25, drop=False)


def test_marks_of_drop_frame() -> None:
    assert [marks_drop(text) for text in ("01:00:00;00", "01:00:00,00", "01:00:00:00", "01:00:00.00", "x")] == [
        *(True, True),
        *(False, False, False),
    ]


def test_clocks_round_halves_up() -> None:
    assert clock(Fraction(37_234_565, 10_000)) == "01:02:03.457"
    assert clock(Fraction(3599_9996, 10_000)) == "01:00:00.000"
    assert clock(Fraction(1, 3), 9, ",") == "00:00:00,333333333"
    assert (decimal(Fraction(5, 10_000)), decimal(Fraction(61), 2)) == ("0.001", "61.00")

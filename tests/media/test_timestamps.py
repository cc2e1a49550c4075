"""Time stamps of packets and frames: jumps, wrapped counters, missing and repeated ones."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from megaseg.media.timestamps import Continuity, FrameTicks

TICKS = 90_000  # a second, as in MPEG-TS
WRAP = 1 << 33


@dataclass
class Packet:
    pts: int | None
    dts: int | None
    duration: int = TICKS // 25


def corrected(packets: list[Packet], *, forward: bool = True, stream: int = 0) -> list[int | None]:
    continuity = Continuity(forward=forward)
    for packet in packets:
        continuity.correct(packet, stream, 1 / TICKS, steady=True)
    return [packet.pts for packet in packets]


def run(begin: int, count: int) -> list[Packet]:
    return [Packet(begin + number * 3600, begin + number * 3600) for number in range(count)]


def test_steady_time_stamps_stay() -> None:
    assert corrected(run(1000, 5)) == [1000 + 3600 * number for number in range(5)]
    assert corrected(run(-7200, 5)) == [-7200 + 3600 * number for number in range(5)]


@pytest.mark.parametrize("begin", [0, 10_000 * TICKS, -10_000 * TICKS], ids=["back", "ahead", "far back"])
def test_a_stream_goes_on_where_it_was_after_a_jump(begin: int) -> None:
    assert corrected(run(100 * TICKS, 5) + run(begin, 5)) == [100 * TICKS + 3600 * number for number in range(10)]


def test_a_gap_stays_where_the_format_has_gaps() -> None:
    late = run(0, 2) + run(60 * TICKS, 2)
    assert corrected(late, forward=False) == [0, 3600, 60 * TICKS, 60 * TICKS + 3600]


def test_a_counter_that_wrapped_goes_on() -> None:
    stamps = [(WRAP - 5 * 3600 + number * 3600) % WRAP for number in range(10)]
    assert corrected([Packet(stamp, stamp) for stamp in stamps]) == [WRAP + (number - 5) * 3600 for number in range(10)]


def test_streams_that_jump_together_keep_their_distance() -> None:
    continuity = Continuity(forward=True)
    distance = 900  # of sound after its picture
    for begin in (0, 500 * TICKS):
        for number in range(25):
            for stream, late in ((0, 0), (1, distance)):
                packet = Packet(begin + number * 3600 + late, begin + number * 3600 + late)
                continuity.correct(packet, stream, 1 / TICKS, steady=True)
                assert packet.pts == (number + (25 if begin else 0)) * 3600 + late


def test_sparse_streams_follow_a_jump_of_the_others() -> None:
    continuity = Continuity(forward=True)
    for begin in (100 * TICKS, 0):
        for packet in run(begin, 25):
            continuity.correct(packet, 0, 1 / TICKS, steady=True)
    line = Packet(12 * 3600, None)
    continuity.correct(line, 1, 1 / TICKS, steady=False)
    assert line.pts == 100 * TICKS + (25 + 12) * 3600
    assert line.dts is None


def test_a_wild_time_stamp_beside_a_right_one_is_left_out() -> None:
    packets = [*run(0, 2), Packet(900 * TICKS, 7200), Packet(1 << 62, 10_800), Packet(None, 14_400)]
    assert corrected(packets) == [0, 3600, 7200, None, None]


@pytest.mark.parametrize(
    ("stamps", "ticks"),
    [
        ([10, 11, 13, 20], [0, 1, 3, 10]),
        ([None, None, None], [0, 40, 80]),
        ([10, None, 90], [0, 40, 80]),
        ([10, 10, 12, 50], [0, 1, 2, 40]),
        ([10, 50, 30, 90], [0, 40, 41, 80]),
        ([5, 9, 13], [-5, -1, 3]),
        ([10] * 7, [0, 1, 2, 3, 43, 83, 123]),
        ([10, 1 << 62, 90], [0, 40, 80]),
    ],
    ids=["as they are", "none", "one missing", "repeated", "out of order", "negative", "standing still", "noise"],
)
def test_ticks_of_frames_increase(stamps: list[int | None], ticks: list[int]) -> None:
    frames = FrameTicks(start=10, step=40)
    assert [frames.next(stamp) for stamp in stamps] == ticks

"""What a film's result tells of it: its clock, when someone speaks, and how loud its shots end."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from megaseg.features.audio.log_mel import LogMelMeasure
from megaseg.features.text.dialogue import captions, first_words
from megaseg.features.video.about import end_loudness, speech_spans, start_timecode
from megaseg.media.measures import Recording
from megaseg.media.subtitles import SubtitleLine


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("01:00:00:00", "01:00:00:00"),
        ("1:00:00;02", "01:00:00;02"),
        ("10:09:08.07", "10:09:08:07"),
        ("00:00:00:100", "00:00:00:100"),
        ("tomorrow", None),
        ("", None),
        (None, None),
    ],
)
def test_start_timecodes(text: str | None, expected: str | None) -> None:
    assert start_timecode(text) == expected


def test_speech_is_increasing_and_disjoint() -> None:
    spans = [(0, 900), (500, 700), (900, 1000), (1500, 1500), (2000, 2500)]
    lines = [SubtitleLine(start, end, "Well.") for start, end in spans]
    assert speech_spans(lines, Fraction(1, 24000)).tolist() == [[0, 24000], [48000, 60000]]
    assert speech_spans([], Fraction(1, 24000)).shape == (0, 2)


def test_captions_are_the_first_words_of_every_shot() -> None:
    lines = [SubtitleLine(ms, ms + 900, text) for ms, text in [(0, "- One"), (100, "two"), (1000, "three " * 20)]]
    times = np.array([[0, 1000], [1000, 1500], [1500, 2000]])
    assert captions(lines, times) == tuple(first_words(lines, start, end) for start, end in times)
    assert captions(lines, times)[0] == "One two"


def recorded(amplitudes: list[float]) -> Recording:
    """Half seconds of sound, each of one amplitude, in a film whose ticks are milliseconds."""
    rows = np.repeat(np.array(amplitudes, np.float32)[:, None], 8000, axis=1)
    starts = np.arange(len(rows)) * 500
    nothing, info = np.zeros(0, np.int64), SimpleNamespace(time_base=Fraction(1, 1000))
    ticks = np.stack([starts, starts + 500], axis=1)
    return Recording(info, nothing, {}, nothing, {}, ticks, {"log_mel": LogMelMeasure().measure(rows)})


def test_loudness_is_that_of_the_loudest_sound_around_an_end() -> None:
    ends = np.array([500, 750, 1000, 1800, 9000])
    found = end_loudness(recorded([1, 0, 0.1, 0.01]), ends)
    assert found is not None
    assert found.tolist() == pytest.approx([0, -80, -20, -40, -40], abs=0.1)
    assert end_loudness(recorded([]), ends) is None

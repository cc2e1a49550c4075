"""What a film's result tells of it besides decisions: its clock, what is said in its shots, and how loud they end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.results.source import Source
from megaseg.features.audio.log_mel import LogMelMeasure, decibels
from megaseg.features.text.dialogue import captions
from megaseg.media.measures import Recording
from megaseg.media.subtitles import SubtitleLine, spoken
from megaseg.media.timecode import marks_drop

AROUND = 0.25  # seconds before and after the end of a shot whose sound counts
_TIMECODE = re.compile(r"(\d?\d):(\d\d):(\d\d)[:;.,](\d\d\d?)", re.ASCII)


def source_of(name: str, recording: Recording, ticks: NDArray[np.int64], lines: Sequence[SubtitleLine]) -> Source:
    """What is known of a film with these shots (shots, 2) and lines."""
    info, said = recording.info, spoken(lines)
    return Source(
        name,
        info.frame_rate,
        start_timecode(info.timecode),
        (info.width, info.height),
        captions(said, ticks * (1000 * float(info.time_base))) if said else (),
        speech_spans(said, info.time_base),
        end_loudness(recording, ticks[:, 1]),
    )


def start_timecode(text: str | None) -> str | None:
    """A file's timecode as ``01:00:00:00``, or ``01:00:00;00`` for drop frame; None where it is none."""
    found = _TIMECODE.fullmatch((text or "").strip())
    if text is None or found is None:
        return None
    hours, minutes, seconds, frames = found.groups()
    return f"{int(hours):02d}:{minutes}:{seconds}{';' if marks_drop(text) else ':'}{frames}"


def speech_spans(lines: Sequence[SubtitleLine], time_base: Fraction) -> NDArray[np.int64]:
    """When someone speaks: ticks (spans, 2) of lines in order of their starts, those that overlap or touch as one."""
    spans: list[list[int]] = []
    for line in lines:
        start, end = (max(0, round(Fraction(ms, 1000) / time_base)) for ms in (line.start_ms, line.end_ms))
        if spans and start <= spans[-1][1]:
            spans[-1][1] = max(end, spans[-1][1])
        elif end > start:
            spans.append([start, end])
    return np.array(spans, np.int64).reshape(-1, 2)


def end_loudness(recording: Recording, ends: NDArray[np.int64]) -> NDArray[np.float32] | None:
    """Loudest sound (shots,) around each end, in dB of full scale; None where no sound was measured."""
    values = recording.sound.get(LogMelMeasure.name)
    if values is None or not len(values):
        return None
    levels, rows = decibels(values), recording.sound_ticks
    reach = round(AROUND / float(recording.info.time_base))
    first = np.searchsorted(rows[:, 1], ends - reach, "right").clip(max=len(rows) - 1)
    last = np.searchsorted(rows[:, 0], ends + reach, "left").clip(first + 1)
    return np.array([levels[begin:end].max() for begin, end in zip(first, last, strict=True)], np.float32)

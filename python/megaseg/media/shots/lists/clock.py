"""A film's frames by their time: from seconds and timecodes to frames and back."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from megaseg.media.timecode import clock, counted, marks_drop
from megaseg.media.video import VideoInfo


class FilmClock:
    """Frames of one film and their times, in seconds from the start of the presentation."""

    def __init__(self, frame_ticks: NDArray[np.int64], info: VideoInfo) -> None:
        self.ticks, self.time_base = frame_ticks, info.time_base
        self.frames = len(frame_ticks) - 1
        whole = Fraction(int(frame_ticks[-1] - frame_ticks[0])) * info.time_base
        self.rate = info.frame_rate or (self.frames / whole if whole > 0 else Fraction(25))
        self.timecode = info.timecode

    @property
    def even(self) -> bool:
        """Whether frame numbers of other programs, which count by time, are those of the decoded frames."""
        expected = np.arange(self.frames + 1) * float(1 / self.rate / self.time_base)
        return bool(np.abs(self.ticks - self.ticks[0] - expected).max() * float(self.time_base * self.rate) < 0.5)

    def seconds(self, frame: int) -> float:
        """Start of a frame; that of the film's number of frames is its end."""
        return float(int(self.ticks[frame]) * self.time_base)

    def frame(self, seconds: float | Fraction) -> int:
        """The frame that starts nearest to a time; the number of frames where that is the film's end or later."""
        tick = float(Fraction(seconds) / self.time_base)
        after = min(int(np.searchsorted(self.ticks, tick)), self.frames)
        return after - (after > 0 and tick - self.ticks[after - 1] < self.ticks[after] - tick)

    def counted(self, number: int) -> int:
        """The frame that has a number where frames are counted by time at the film's rate."""
        return number if self.even else self.frame(number / self.rate + Fraction(int(self.ticks[0])) * self.time_base)

    def number(self, timecode: str, *, drop: bool = False) -> int:
        """The number that a timecode such as ``01:00:00:12`` counts; drop-frame where so marked or ``;`` says so.

        Raises:
            FeatureError: no timecode.
        """
        return counted(timecode, round(self.rate), drop=drop or marks_drop(timecode))  # 24 where there are 23.976

    def timecode_of(self, seconds: float) -> str:
        """Hours, minutes, seconds and milliseconds, as PySceneDetect writes a time."""
        return clock(Fraction(seconds))

"""What readers of boundaries share: spans in seconds, texts of times, and how lists count frames."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from megaseg.errors import FeatureError
from megaseg.media.timecode import FrameRate, counted, marks_drop

Span = tuple[Fraction, Fraction | None]
"""Start and end of a part in seconds; None where the file does not say its end."""

_CLOCK = re.compile(r"(?:(\d{1,3}):)?(\d{1,3}):(\d\d(?:[.,]\d{1,12})?)", re.ASCII)
_NUMBER = re.compile(r"\d{1,9}(?:\.\d{1,12})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Counting:
    """Frames a second of lists that count frames, and the first frame's timecode; None where nobody says."""

    rate: FrameRate | None = None
    start: str | None = None

    def number(self, timecode: str, drop: bool = False) -> int:
        """The number of a timecode.

        Raises:
            FeatureError: no timecode, or no rate.
        """
        rate = self.required()
        return counted(timecode, rate.base, drop=drop or rate.drop or marks_drop(timecode))

    def of_markers(self, numbers: Sequence[int], drop: bool = False) -> list[Span]:
        """Parts that begin at markers: from the first timecode on, else from the full hour before the first marker.

        Raises:
            FeatureError: no rate.
        """
        first, hour = min(numbers, default=0), self.number("01:00:00:00", drop)
        origin = self.number(self.start, drop) if self.start else first + 1
        if origin > first:
            origin = first // hour * hour
        return [(self.required().seconds(number - origin), None) for number in numbers]

    def required(self) -> FrameRate:
        """The rate of a list that needs one.

        Raises:
            FeatureError: none is known.
        """
        if self.rate is None:
            raise FeatureError("frame_rate: expected one for a list of timecodes, such as 25 or 29.97df, got none")
        return self.rate


def seconds(text: str) -> Fraction:
    """Seconds of ``754.2``, ``12:34.2``, ``0:12:34`` and the like.

    Raises:
        FeatureError: no time.
    """
    if _NUMBER.fullmatch(text):
        return Fraction(text)
    found = _CLOCK.fullmatch(text)
    if found is None:
        raise FeatureError(f"expected a time such as 754.2 or 0:12:34.2, got {text!r:.40}")
    return 3600 * int(found[1] or 0) + 60 * int(found[2]) + Fraction(found[3].replace(",", "."))

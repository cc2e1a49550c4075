"""Times as frames, as timecodes (SMPTE ST 12-1, drop-frame too) and as clocks, in exact arithmetic."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from megaseg.errors import FeatureError

_TIMECODE = re.compile(r"(\d{1,3}):([0-5]\d):([0-5]\d)([:;.,])(\d{2,3})")
_NTSC = Fraction(1000, 1001)
FASTEST = 1000  # frames a second
_WHOLE = (10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 72, 90, 96, 100, 120)
STANDARD = tuple(sorted([*map(Fraction, _WHOLE), *(rate * _NTSC for rate in (24, 30, 48, 60, 72, 90, 96, 120))]))
"""Rates that films and editors commonly have, from the lowest."""


@dataclass(frozen=True, slots=True)
class FrameRate:
    """Frames a second, exactly, and whether timecodes leave numbers out so that they keep to the clock (drop-frame).

    Raises:
        FeatureError: a rate out of range, or drop-frame at another rate than 29.97 and its multiples.
    """

    exact: Fraction
    drop: bool = False

    def __post_init__(self) -> None:
        if not Fraction(1, 2) < self.exact <= FASTEST:
            raise FeatureError(f"frame_rate: expected 1 to {FASTEST} frames a second, got {float(self.exact):g}")
        if self.drop and not can_drop(self.exact):
            raise FeatureError(f"frame_rate: expected 29.97 or 59.94 with drop-frame timecode, got {self}")

    def __str__(self) -> str:
        short = f"{float(self.exact):.3f}".rstrip("0").rstrip(".")
        return f"{short} drop-frame" if self.drop else short

    @property
    def base(self) -> int:
        """Frames that a second of timecode counts: 24 at 23.976."""
        return _divided(*self.exact.as_integer_ratio())

    @property
    def ntsc(self) -> bool:
        """Whether the rate is a whole one slowed down by 1000/1001."""
        return self.exact == self.base * _NTSC

    @property
    def standard(self) -> bool:
        """Whether editors can work at the rate."""
        return is_standard(self.exact)

    def frame(self, seconds: Fraction) -> int:
        """The frame whose start is nearest to a time; halves go up."""
        (a, b), (c, d) = seconds.as_integer_ratio(), self.exact.as_integer_ratio()
        return _divided(a * c, b * d)

    def seconds(self, frame: int) -> Fraction:
        """Start of a frame."""
        return frame / self.exact

    def timecode(self, frame: int) -> str:
        """Hours, minutes, seconds and frames, modulo 24 hours: ``01:00:00:12``, or ``01:00:00;12`` for drop-frame."""
        left_out = self.base // 15 if self.drop else 0  # numbers a minute, but for every tenth minute
        ten_minutes = 600 * self.base - 9 * left_out
        tens, rest = divmod(frame % (144 * ten_minutes), ten_minutes)
        minutes = max(rest - left_out, 0) // (60 * self.base - left_out)  # passed that leave numbers out
        number = 600 * self.base * tens + rest + left_out * minutes
        total, frames = divmod(number, self.base)
        width = 2 if self.base <= 100 else 3
        clock = f"{total // 3600:02d}:{total // 60 % 60:02d}:{total % 60:02d}"
        return f"{clock}{';' if self.drop else ':'}{frames:0{width}d}"

    def number(self, timecode: str) -> int:
        """The frame that a timecode names, of this rate's own kind whatever its separators are.

        Raises:
            FeatureError: no timecode of this rate.
        """
        return counted(timecode, self.base, drop=self.drop)


def clock(seconds: Fraction, digits: int = 3, separator: str = ".") -> str:
    """Hours, minutes, seconds and so many decimals, halves up: ``01:02:03.456``."""
    whole, rest = divmod(ticks(seconds, 10**digits), 10**digits)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{separator}{rest:0{digits}d}"


def decimal(seconds: Fraction, digits: int = 3) -> str:
    """Seconds with so many decimals, halves up, as ``clock`` rounds: ``3723.456``."""
    whole, rest = divmod(ticks(seconds, 10**digits), 10**digits)
    return f"{whole}.{rest:0{digits}d}"


def ticks(seconds: Fraction, rate: int) -> int:
    """Ticks of a clock that counts ``rate`` a second, halves up."""
    return _divided(seconds.numerator * rate, seconds.denominator)


def _divided(numerator: int, denominator: int) -> int:
    """The nearest whole number, halves up."""
    return (2 * numerator + denominator) // (2 * denominator)


def is_standard(rate: Fraction) -> bool:
    """Whether a rate is a whole one, or one slowed down by 1000/1001."""
    return rate.denominator == 1 or (rate / _NTSC).denominator == 1


def can_drop(rate: Fraction) -> bool:
    """Whether drop-frame timecode is defined at a rate: 29.97 and its multiples."""
    return (rate / (30 * _NTSC)).denominator == 1


def marks_drop(timecode: str) -> bool:
    """Whether a timecode is written as drop-frame: with ``;`` (or ``,``) before its frames."""
    found = _TIMECODE.fullmatch(timecode.strip())
    return found is not None and found[4] in ";,"


def counted(timecode: str, base: int, *, drop: bool) -> int:
    """The number that a timecode such as ``01:00:00:12`` counts, at ``base`` frames a second of timecode.

    Raises:
        FeatureError: no timecode.
    """
    found = _TIMECODE.fullmatch(timecode.strip())
    if found is None or int(found[5]) >= base:
        raise FeatureError(f"expected a timecode at {base} frames a second, got {timecode!r:.40}")
    hours, minutes, seconds, frames = (int(found[group]) for group in (1, 2, 3, 5))
    minutes += 60 * hours
    number = (60 * minutes + seconds) * base + frames
    if drop:  # two numbers a minute are left out at 30, four at 60, not in every tenth minute
        number -= base // 15 * (minutes - minutes // 10)
    return number


def parse(text: str) -> FrameRate:
    """A rate as people write it: ``25``, ``23.976``, ``24000/1001``, ``29.97df`` (drop-frame).

    Decimals within 0.02 % of a rate that editors work at mean that rate.

    Raises:
        FeatureError: no rate.
    """
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9}|/\d{1,9})?)\s*(df|ndf|nd)?", text.strip().lower())
    if found is None or re.fullmatch(r".*/0+", found[1]):
        raise FeatureError(f"frame_rate: expected frames a second such as 25, 23.976 or 29.97df, got {text!r:.40}")
    return FrameRate(snapped(Fraction(found[1])), found[2] == "df")


def snapped(rate: Fraction) -> Fraction:
    """The standard rate that a rounded or measured one stands for, within 0.02 %; else the rate itself."""
    nearest = min(STANDARD, key=lambda standard: abs(standard - rate))
    return nearest if abs(nearest - rate) <= nearest / 5000 else rate


def conformed(rate: Fraction) -> Fraction:
    """The rate at which editors work with a film of a rate: its own, or for a variable one the nearest standard."""
    own = snapped(rate)
    return own if is_standard(own) and own <= FASTEST else min(STANDARD, key=lambda standard: abs(standard - own))

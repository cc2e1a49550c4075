"""Time stamps as files have them, made into ticks that increase.

Packets: where a stream's time stamps jump (a recording that was cut, a counter that wrapped), all that follow are
shifted so that the stream goes on where it was; streams that jump together keep their distance. Frames: a frame without
a time stamp comes one frame after the one before; one that is not later than the one before comes a tick after it, and
a whole frame after it when time stamps stand still.
"""

from __future__ import annotations

from typing import Protocol

_JUMP = 10.0  # seconds from which a difference is a jump
_MOST = 1 << 61  # larger time stamps are noise
_STUCK = 3  # frames in a row that are not later than the one before


class Stamped(Protocol):
    """What of a packet is read and changed here."""

    pts: int | None
    dts: int | None
    duration: int | None


class Continuity:
    """Time stamps of one file's packets without jumps."""

    def __init__(self, *, forward: bool) -> None:
        """``forward``: a jump ahead is one as well; where the format allows gaps, it is a gap."""
        self._forward = forward
        self._shifts: dict[int, float] = {}  # seconds that are added to a stream's time stamps
        self._next: dict[int, float] = {}  # seconds, shifted, at which a stream goes on

    def correct(self, packet: Stamped, stream: int, unit: float, *, steady: bool) -> None:
        """Shift one packet's time stamps, of ``unit`` seconds. ``steady``: a stream without gaps, of video or sound."""
        for name in ("pts", "dts"):
            stamp = getattr(packet, name)
            if stamp is not None and abs(stamp) > _MOST:
                setattr(packet, name, None)
        pts, dts = packet.pts, packet.dts
        if pts is not None and dts is not None and abs(pts - dts) * unit > _JUMP:
            packet.pts = pts = dts
        known = pts if dts is None else dts
        if known is None:
            return
        shift = self._shift(stream, known * unit, steady)
        if shift:
            ticks = round(shift / unit)
            packet.pts, packet.dts = (None if stamp is None else stamp + ticks for stamp in (pts, dts))
        self._next[stream] = known * unit + shift + (packet.duration or 0) * unit

    def _shift(self, stream: int, seconds: float, steady: bool) -> float:
        shift, due = self._shifts.get(stream, 0.0), self._next.get(stream)
        late = 0.0 if due is None else seconds + shift - due
        if steady and (late < -_JUMP or (self._forward and late > _JUMP)):
            shift = min(self._shifts.values(), key=lambda other: abs(other - (shift - late)), default=shift - late)
            if abs(seconds + shift - (due or 0.0)) > _JUMP:
                shift = (due or 0.0) - seconds
        elif not steady and self._shifts:
            shift = max(self._shifts.values(), key=abs)
        if shift or stream in self._shifts:
            self._shifts[stream] = shift
        return shift


class FrameTicks:
    """Ticks of one film's frames, in the order in which they are shown."""

    def __init__(self, start: int, step: int) -> None:
        """``start``: the time stamp at tick 0. ``step``: ticks of one frame where nothing else says."""
        self._start = start
        self._step = max(step, 1)
        self._previous: int | None = None
        self._stuck = 0

    def next(self, stamp: int | None) -> int:
        """Tick of the next frame."""
        previous = self._previous
        known = stamp is not None and abs(stamp) <= _MOST
        tick = stamp - self._start if known and stamp is not None else None
        if previous is None:
            tick = 0 if tick is None else tick
        elif tick is None:
            tick = previous + self._step
        elif tick <= previous:
            self._stuck += 1
            tick = previous + (self._step if self._stuck > _STUCK else 1)
        else:
            self._stuck = 0
        self._previous = tick
        return tick

    @property
    def step(self) -> int:
        """Ticks of one frame where nothing else says."""
        return self._step

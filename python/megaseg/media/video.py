"""``Video``: a film's file as a source, and what its file says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Video:
    """A film that is decoded when it is segmented."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class Track:
    """One track of sound or of subtitles."""

    codec: str  # such as aac, subrip
    language: str | None = None  # as the file writes it, such as eng
    read: bool = False  # whether it is the one that is read


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a film's file says of itself.

    ``width`` and ``height`` are in pixels as shown, after ``rotation`` by so many degrees clockwise. Times of a film
    are ticks of ``time_base`` from the start of the presentation, as players count them; the video stream's own time
    stamp is ``start`` ticks more. ``timecode`` is that of the first frame, such as ``01:00:00:00``.
    """

    width: int
    height: int
    rotation: int  # 0, 90, 180 or 270
    codec: str
    time_base: Fraction
    start: int
    frame_rate: Fraction | None  # the average; None where the file does not say
    duration: float | None  # seconds; None where the file does not say
    audio: tuple[Track, ...]
    subtitles: tuple[Track, ...]
    timecode: str | None

    def to_json(self) -> dict[str, Any]:
        """Values of JSON."""
        return {key: str(value) if isinstance(value, Fraction) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> VideoInfo:
        """The inverse of ``to_json``."""
        rate = values["frame_rate"]
        exact = {
            "time_base": Fraction(values["time_base"]),
            "frame_rate": None if rate is None else Fraction(rate),
            **{kind: tuple(Track(**track) for track in values[kind]) for kind in ("audio", "subtitles")},
        }
        return cls(**{**values, **exact})

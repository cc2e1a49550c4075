"""Parts of a timeline in whole frames, for formats that count them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from megaseg.errors import FeatureError
from megaseg.export.text import characters, quoted
from megaseg.export.timeline import Mark, Part, Timeline
from megaseg.media.timecode import FrameRate


@dataclass(frozen=True, slots=True)
class Span:
    """A part from its first frame to the one after its last, counted from the film's first."""

    part: Part
    first: int
    end: int

    @property
    def frames(self) -> int:
        """Its length."""
        return self.end - self.first


def rate_of(timeline: Timeline) -> FrameRate:
    """The frame rate of a timeline that has one, as ``Format.render`` has checked."""
    if timeline.rate is None:
        raise FeatureError("frame_rate: expected one, got none")
    return timeline.rate


def frame_at(timeline: Timeline, seconds: Fraction) -> int:
    """The frame nearest to a time, counted from the first picture: rounded from the exact time, once."""
    return max(rate_of(timeline).frame(seconds - timeline.lead), 0)


def spans(timeline: Timeline, parts: Sequence[Part]) -> list[Span]:
    """The parts that have a frame, each boundary at the frame nearest to it."""
    all_spans = [Span(part, frame_at(timeline, part.start), frame_at(timeline, part.end)) for part in parts]
    return [span for span in all_spans if span.frames > 0]


def timecode(timeline: Timeline, number: int) -> str:
    """The timecode of a frame, counted from the film's own first one."""
    return rate_of(timeline).timecode(timeline.start_frame + number)


def score_note(part: Part | Mark) -> str:
    """What markers say of a boundary: ``score 0.83``."""
    return f"score {part.score:.2f}"


def media_url(timeline: Timeline) -> str:
    """The film's file as a URL: absolute where its folder is known, else its name alone."""
    media = timeline.media
    if "://" in media:
        return characters(media)
    return f"file://{quoted(media)}" if Path(media).is_absolute() else quoted(media)

"""Parts of a timeline in whole frames, for formats that count them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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


def spans(timeline: Timeline, parts: Sequence[Part]) -> list[Span]:
    """The parts that have a frame, each boundary at the frame nearest to it: rounded from the exact time, once."""
    rate = rate_of(timeline)
    all_spans = [Span(part, rate.frame(part.start), rate.frame(part.end)) for part in parts]
    return [span for span in all_spans if span.frames > 0]


def timecode(timeline: Timeline, frame: int) -> str:
    """The timecode of a frame, counted from the film's own first one."""
    return rate_of(timeline).timecode(timeline.start_frame + frame)


def score_note(part: Part | Mark) -> str:
    """What markers say of a boundary: ``score 0.83``."""
    return f"score {part.score:.2f}"


def media_url(timeline: Timeline) -> str:
    """The film's file as a URL: absolute where its folder is known, else its name alone."""
    media = timeline.media
    if "://" in media:
        return characters(media)
    return f"file://{quoted(media)}" if Path(media).is_absolute() else quoted(media)

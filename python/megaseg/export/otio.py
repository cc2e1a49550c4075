"""``otio``: a timeline of OpenTimelineIO, a clip a scene, with markers, scores and acts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from megaseg.export.formats import Format
from megaseg.export.frames import Span, frame_at, media_url, rate_of, spans
from megaseg.export.text import characters
from megaseg.export.timeline import Mark, Part, Timeline

ACTS = ("CYAN", "GREEN", "YELLOW", "PINK", "PURPLE", "ORANGE")  # in turn
SCENE, POINT = "BLUE", "RED"


def write(timeline: Timeline) -> bytes:
    """Clips lie in the film's own time, which begins with its start timecode; acts and points mark the whole stack."""
    items = _Items(timeline)
    clips, end = [], 0
    for span in spans(timeline, timeline.scenes):
        if span.first > end:
            clips.append(items.gap(span.first - end))
        clips.append(items.clip(span))
        end = span.end
    marks = [
        items.marker(act.part, act.first, act.frames, ACTS[(act.part.number - 1) % len(ACTS)])
        for act in spans(timeline, timeline.acts)
    ]
    marks += [items.marker(point, frame_at(timeline, point.seconds), 0, POINT) for point in timeline.points]
    track = {**_named("Track.1", "Scenes"), "kind": "Video", "children": clips}
    document = {
        **_named("Timeline.1", timeline.title),
        "global_start_time": items.time(timeline.start_frame),
        "tracks": {**_named("Stack.1", "tracks"), "children": [track], "markers": marks},
    }
    return (json.dumps(document, ensure_ascii=False) + "\n").encode()


class _Items:
    """Makes objects of OpenTimelineIO at the rate of one timeline."""

    def __init__(self, timeline: Timeline) -> None:
        self.rate, self.start = float(rate_of(timeline).exact), timeline.start_frame
        self.media = {
            **_named("ExternalReference.1", timeline.media),
            "target_url": media_url(timeline),
            "available_range": self.range(self.start, frame_at(timeline, timeline.duration)),
        }

    def time(self, frames: int) -> dict[str, Any]:
        return {"OTIO_SCHEMA": "RationalTime.1", "rate": self.rate, "value": float(frames)}

    def range(self, first: int, frames: int) -> dict[str, Any]:
        return {"OTIO_SCHEMA": "TimeRange.1", "start_time": self.time(first), "duration": self.time(frames)}

    def clip(self, span: Span) -> dict[str, Any]:
        """A scene, with a marker at its start."""
        return {
            **_named("Clip.1", span.part.name, _told(span.part)),
            "source_range": self.range(self.start + span.first, span.frames),
            "media_reference": self.media,
            "markers": [self.marker(span.part, self.start + span.first, 0, SCENE)],
        }

    def gap(self, frames: int) -> dict[str, Any]:
        return {**_named("Gap.1", ""), "source_range": self.range(0, frames)}

    def marker(self, part: Part | Mark, first: int, frames: int, colour: str) -> dict[str, Any]:
        told = {"score": part.score}
        return {**_named("Marker.2", part.name, told), "color": colour, "marked_range": self.range(first, frames)}


def _named(schema: str, name: str, told: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"OTIO_SCHEMA": schema, "name": characters(name), "metadata": {"megaseg": told} if told else {}}


def _told(part: Part) -> dict[str, Any]:
    shots: Sequence[int] = (part.first_shot, part.last_shot)
    return {"number": part.number, "act": part.act, "score": part.score, "shots": list(shots)}


FORMAT = Format("otio", ".otio", "OpenTimelineIO: Resolve, Premiere, Avid, Hiero, RV", write, framed=True)

"""``fcpxml``: a library of Final Cut Pro with the film and a project that is cut at its scenes."""

from __future__ import annotations

from collections.abc import Sequence

from megaseg.export.formats import Format
from megaseg.export.frames import Span, frame_at, media_url, rate_of, score_note, spans
from megaseg.export.timeline import Mark, Timeline
from megaseg.export.xml_file import Element, document, element

VERSION = "1.8"  # read by Final Cut Pro 10.4.1 and later, and by Resolve


def write(timeline: Timeline) -> bytes:
    """Scenes are clips with a marker each; acts are keyword ranges, and roles, by which clips are coloured.

    Turning points are markers to be done, which are red.
    """
    own = _Times(timeline)
    scenes, acts = spans(timeline, timeline.scenes), spans(timeline, timeline.acts)
    film = element("asset-clip", **own.film(timeline.file_name))
    film.extend(own.keyword(act, act.first, act.end) for act in acts)
    spine, end = element("spine"), 0
    for span in scenes:
        if span.first > end:
            spine.append(
                element("gap", name="Gap", offset=own.at(end), start="0s", duration=own.length(span.first - end))
            )
        spine.append(_scene(timeline, own, span, acts))
        end = span.end
    sequence = element("sequence", spine, format="r1", duration=own.length(end), tcStart=own.at(0), tcFormat=own.kind)
    event = element("event", film, element("project", sequence, name=timeline.title), name=timeline.title)
    root = element("fcpxml", _resources(timeline, own), element("library", event), version=VERSION)
    return document(root, "fcpxml")


def _resources(timeline: Timeline, own: _Times) -> Element:
    """The format, and the film as an asset."""
    size = dict(zip(("width", "height"), timeline.size or (), strict=False))
    sound: dict[str, str | int] = {"hasAudio": 1, "audioSources": 1, "audioChannels": 2} if timeline.sound else {}
    asset = element(
        "asset",
        **{"id": "r2", "name": timeline.file_name, "src": media_url(timeline), "start": own.at(0)},
        **{"duration": own.length(own.frames), "hasVideo": 1, "format": "r1", **sound},
    )
    return element("resources", element("format", id="r1", frameDuration=own.length(1), **size), asset)


def _scene(timeline: Timeline, own: _Times, span: Span, acts: Sequence[Span]) -> Element:
    """A clip with its markers; parts of acts within it are keyword ranges."""
    part = span.part
    clip = element(
        "asset-clip",
        **{"ref": "r2", "name": part.name, "offset": own.at(span.first), "start": own.at(span.first)},
        **{"duration": own.length(span.frames), "format": "r1", "tcFormat": own.kind},
        **({} if part.act is None else {"videoRole": f"Act {part.act}"}),
    )
    clip.append(own.marker(part.name, span.first, score_note(part)))
    for point, frame in own.points:
        if span.first <= frame < span.end:
            clip.append(own.marker(point.name, frame, score_note(point), completed=0))
    for act in acts:
        first, end = max(act.first, span.first), min(act.end, span.end)
        if first < end:
            clip.append(own.keyword(act, first, end))
    return clip


class _Times:
    """Frames of one timeline as rational seconds, from the film's start timecode."""

    def __init__(self, timeline: Timeline) -> None:
        rate = rate_of(timeline)
        self.rate, self.start = rate.exact, timeline.start_frame
        self.kind = "DF" if rate.drop else "NDF"
        self.frames = frame_at(timeline, timeline.duration)
        self.points: list[tuple[Mark, int]] = [(point, frame_at(timeline, point.seconds)) for point in timeline.points]

    def length(self, frames: int) -> str:
        """So many frames, such as ``24024/24000s``: a multiple of the frame's duration, never reduced."""
        numerator, denominator = self.rate.as_integer_ratio()
        return f"{frames * denominator}/{numerator}s" if frames else "0s"

    def at(self, frame: int) -> str:
        """The start of a frame."""
        return self.length(self.start + frame)

    def film(self, name: str) -> dict[str, str]:
        """Attributes of the whole film as a clip."""
        own = {"ref": "r2", "name": name, "start": self.at(0), "duration": self.length(self.frames)}
        return {**own, "format": "r1", "tcFormat": self.kind}

    def marker(self, name: str, frame: int, note: str, **done: int) -> Element:
        return element("marker", start=self.at(frame), duration=self.length(1), value=name, note=note, **done)

    def keyword(self, act: Span, first: int, end: int) -> Element:
        value = act.part.name.replace(",", ";")  # commas part keywords
        return element("keyword", start=self.at(first), duration=self.length(end - first), value=value)


FORMAT = Format(
    "fcpxml", ".fcpxml", "Final Cut Pro, with acts as keyword ranges and roles; Resolve", write, framed=True
)

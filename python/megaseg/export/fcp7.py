"""``fcp7``: a sequence in the XML of Final Cut Pro 7 (xmeml 5), which Premiere, Resolve and Avid read."""

from __future__ import annotations

from collections.abc import Sequence

from megaseg.export.formats import Format
from megaseg.export.frames import Span, frame_at, media_url, rate_of, score_note, spans, timecode
from megaseg.export.timeline import Mark, Part, Timeline
from megaseg.export.xml_file import Element, document, element

CHANNELS = 2  # of sound, a track each


def write(timeline: Timeline) -> bytes:
    """The film cut at its scenes; markers of scenes and turning points, and of acts as ranges, on the sequence."""
    scenes = spans(timeline, timeline.scenes)
    size = [element(tag, number) for tag, number in zip(("width", "height"), timeline.size or (), strict=False)]
    look = element("samplecharacteristics", _rate(timeline), *size, element("pixelaspectratio", "square"))
    picture = _track(timeline, scenes, "video", 0)
    media = element("media", element("video", element("format", look), picture))
    if timeline.sound:
        sounds = [_track(timeline, scenes, "audio", channel) for channel in range(1, CHANNELS + 1)]
        media.append(element("audio", *sounds))
    sequence = element(
        "sequence",
        element("name", timeline.title),
        element("duration", frame_at(timeline, timeline.duration)),
        _rate(timeline),
        _timecode(timeline),
        media,
        *_markers(timeline),
        id="sequence-1",
    )
    return document(element("xmeml", sequence, version=5), "xmeml")


def _rate(timeline: Timeline) -> Element:
    rate = rate_of(timeline)
    return element("rate", element("timebase", rate.base), element("ntsc", "TRUE" if rate.ntsc else "FALSE"))


def _timecode(timeline: Timeline) -> Element:
    """Timecode of the first frame."""
    return element(
        "timecode",
        _rate(timeline),
        element("string", timecode(timeline, 0)),
        element("frame", timeline.start_frame),
        element("displayformat", "DF" if rate_of(timeline).drop else "NDF"),
    )


def _track(timeline: Timeline, scenes: Sequence[Span], kind: str, channel: int) -> Element:
    return element("track", *(_clip(timeline, number, span, kind, channel) for number, span in enumerate(scenes, 1)))


def _clip(timeline: Timeline, number: int, span: Span, kind: str, channel: int) -> Element:
    """A scene on the track of the picture (channel 0) or of one channel of sound, linked to one another."""
    film = _file(timeline) if number == 1 and channel == 0 else element("file", id="file-1")
    clip = element(
        "clipitem",
        element("name", span.part.name),
        element("duration", frame_at(timeline, timeline.duration)),
        _rate(timeline),
        *(element(tag, frame) for tag, frame in (("start", span.first), ("end", span.end))),
        *(element(tag, frame) for tag, frame in (("in", span.first), ("out", span.end))),
        film,
        id=f"clipitem-{number}-{channel}",
    )
    if channel:
        clip.append(element("sourcetrack", element("mediatype", kind), element("trackindex", channel)))
    if timeline.sound:
        clip.extend(element("link", element("linkclipref", f"clipitem-{number}-{own}")) for own in range(CHANNELS + 1))
    return clip


def _file(timeline: Timeline) -> Element:
    media = element("media", element("video"))
    if timeline.sound:
        media.append(element("audio", element("channelcount", CHANNELS)))
    return element(
        "file",
        element("name", timeline.file_name),
        element("pathurl", media_url(timeline)),
        _rate(timeline),
        element("duration", frame_at(timeline, timeline.duration)),
        _timecode(timeline),
        media,
        id="file-1",
    )


def _markers(timeline: Timeline) -> list[Element]:
    points = [_marker(point, frame_at(timeline, point.seconds), -1) for point in timeline.points]
    acts = [_marker(span.part, span.first, span.end) for span in spans(timeline, timeline.acts)]
    scenes = [_marker(span.part, span.first, -1) for span in spans(timeline, timeline.marked)]
    return [*acts, *scenes, *points]


def _marker(part: Part | Mark, first: int, end: int) -> Element:
    """A marker; an end of -1 makes it a point."""
    texts = element("name", part.name), element("comment", score_note(part))
    return element("marker", *texts, element("in", first), element("out", end))


FORMAT = Format("fcp7", ".fcp7.xml", "Final Cut Pro 7 XML: Premiere, Resolve, Avid", write, framed=True)

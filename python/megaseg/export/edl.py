"""``edl``: an edit decision list of CMX 3600, one event a scene, with locators that name the scenes."""

from __future__ import annotations

from megaseg.export.formats import Format
from megaseg.export.frames import rate_of, score_note, spans, timecode
from megaseg.export.text import one_line
from megaseg.export.timeline import Timeline


def write(timeline: Timeline) -> bytes:
    """Source and record times are both the film's own timecode: the list cuts the film where its scenes end."""
    lines = header(timeline)
    for number, span in enumerate(spans(timeline, timeline.scenes), 1):
        times = [timecode(timeline, frame) for frame in (span.first, span.end)] * 2
        lines += [
            f"{number:03d}  AX       V     C        {' '.join(times)}",
            f"* FROM CLIP NAME: {one_line(timeline.file_name)}",
            f"* SOURCE FILE: {one_line(timeline.media)}",
            f"* LOC: {times[0]} {'RED' if span.part.act is None else 'GREEN'}     {one_line(span.part.name)}",
            f"* COMMENT: {score_note(span.part)}",
        ]
    return "\n".join([*lines, ""]).encode()


def header(timeline: Timeline) -> list[str]:
    """Title and kind of timecode, which every list of this family begins with."""
    kind = "DROP FRAME" if rate_of(timeline).drop else "NON-DROP FRAME"
    return [f"TITLE: {one_line(timeline.title)}", f"FCM: {kind}", ""]


FORMAT = Format("edl", ".edl", "CMX 3600 edit list: Resolve, Premiere, Avid, Flame", write, framed=True)

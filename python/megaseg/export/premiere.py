"""``premiere``: markers in the columns of Premiere Pro's own marker list."""

from __future__ import annotations

import csv
import io

from megaseg.export.csv_table import cell
from megaseg.export.formats import Format
from megaseg.export.frames import frame_at, rate_of, score_note, spans, timecode
from megaseg.export.timeline import Mark, Part, Timeline

COLUMNS = ("Marker Name", "Description", "In", "Out", "Duration", "Marker Type")
KINDS = ("Segmentation", "Comment", "Comment")  # of acts, scenes and turning points


def write(timeline: Timeline) -> bytes:
    """Acts are segmentation markers, scenes and turning points comments; by their first frames, acts first."""
    rate = rate_of(timeline)
    marks: list[tuple[int, int, int, Part | Mark]] = []
    for kind, parts in enumerate((timeline.acts, timeline.marked)):
        marks += [(span.first, kind, span.end, span.part) for span in spans(timeline, parts)]
    marks += [((frame := frame_at(timeline, point.seconds)), len(KINDS) - 1, frame, point) for point in timeline.points]
    output = io.StringIO()
    table = csv.writer(output, lineterminator="\n")
    table.writerow(COLUMNS)
    for first, kind, end, part in sorted(marks, key=lambda mark: mark[:2]):
        times = timecode(timeline, first), timecode(timeline, end), rate.timecode(end - first)
        table.writerow([cell(part.name), score_note(part), *times, KINDS[kind]])
    return output.getvalue().encode()


FORMAT = Format("premiere", ".premiere.csv", "Markers in the columns of Premiere Pro's list", write, framed=True)

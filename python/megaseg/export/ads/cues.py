"""``cues``: a list of ad breaks as a table."""

from __future__ import annotations

import csv
import io

from megaseg.export.ads.breaks import Break, breaks
from megaseg.export.formats import Format
from megaseg.export.frames import frame_at, timecode
from megaseg.export.timeline import Timeline
from megaseg.media.timecode import clock, decimal

COLUMNS = ("Cue", "Time", "Seconds", "Timecode", "Length", "After Shot", "Score", "Loudness", "Act End", "Worth")


def write(timeline: Timeline) -> bytes:
    """One row a break; no timecode without a rate, no loudness without sound."""
    output = io.StringIO()
    table = csv.writer(output, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows(_row(timeline, one) for one in breaks(timeline))
    return output.getvalue().encode()


def _row(timeline: Timeline, one: Break) -> list[str | int]:
    return [
        one.number,
        clock(one.seconds),
        decimal(one.seconds),
        "" if timeline.rate is None else timecode(timeline, frame_at(timeline, one.seconds)),
        f"{timeline.ads.length:g}",
        one.shot,
        f"{one.score:.6f}",
        "" if one.loudness is None else f"{one.loudness:.1f}",
        "yes" if one.act_end else "no",
        f"{one.worth:.6f}",
    ]


FORMAT = Format("cues", ".cues.csv", "Ad breaks as a table: times, timecodes, and why there", write)

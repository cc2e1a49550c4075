"""``csv``: a table of scenes with the columns of PySceneDetect's list, and shots, score, act and name after them."""

from __future__ import annotations

import csv
import io

from megaseg.export.formats import Format
from megaseg.export.frames import frame_at
from megaseg.export.text import one_line
from megaseg.export.timeline import Part, Timeline
from megaseg.media.shots.lists.pyscenedetect import COLUMNS
from megaseg.media.timecode import clock, decimal

OWN = ("First Shot", "Last Shot", "Score", "Act", "Name")
_FORMULAS = ("=", "+", "-", "@")  # at the start of a cell, for spreadsheets


def write(timeline: Timeline) -> bytes:
    """One row a scene; cells of frames are empty without a rate, those of times without times."""
    output = io.StringIO()
    table = csv.writer(output, lineterminator="\n")
    table.writerow([*COLUMNS, *OWN])
    table.writerows(_row(timeline, part) for part in timeline.scenes)
    return output.getvalue().encode()


def _row(timeline: Timeline, part: Part) -> list[str | int]:
    act = "" if part.act is None else part.act
    return [
        part.number,
        *_times(timeline, part),
        part.first_shot,
        part.last_shot,
        f"{part.score:.6f}",
        act,
        cell(part.name),
    ]


def _times(timeline: Timeline, part: Part) -> list[str | int]:
    """Start, end and length, each as frames, clock and seconds; frames are the first and the last inside."""
    if not timeline.timed:
        return [""] * 9
    first, last, frames = _frames(timeline, part)
    cells: list[str | int] = []
    for number, seconds in ((first, part.start), (last, part.end), (frames, part.end - part.start)):
        cells += [number, clock(seconds), decimal(seconds)]
    return cells


def _frames(timeline: Timeline, part: Part) -> tuple[int, int, int] | tuple[str, str, str]:
    """First and last frame, from 1, and how many."""
    if timeline.rate is None:
        return "", "", ""
    start, end = (frame_at(timeline, seconds) for seconds in (part.start, part.end))
    return start + 1, end, end - start


def cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    text = one_line(text)
    return f"'{text}" if text.startswith(_FORMULAS) else text


FORMAT = Format("csv", ".csv", "Table of scenes: PySceneDetect's columns, score, act and name", write, timed=False)

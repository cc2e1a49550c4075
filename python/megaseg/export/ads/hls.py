"""``hls``: ad breaks in a playlist of HTTP Live Streaming: date ranges (RFC 8216, 4.3.2.7) and cue tags.

The playlist has the film's stretches between breaks as segments, for a packager to take the tags over to its own.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from fractions import Fraction
from itertools import pairwise

from megaseg.export.ads.breaks import Break
from megaseg.export.ads.scte35 import sections
from megaseg.export.formats import Format
from megaseg.export.text import quoted
from megaseg.export.timeline import Timeline
from megaseg.media.timecode import decimal, ticks

START = datetime(1970, 1, 1, tzinfo=timezone.utc)  # of the film, for the dates of its breaks


def write(timeline: Timeline) -> bytes:
    """A playlist of the stretches between breaks; each break is a date range and a pair of cue tags."""
    found = sections(timeline)
    edges = [Fraction(0), *(one.seconds for one, _ in found), timeline.duration]
    lengths = [b - a for a, b in pairwise(edges)]
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{max(ticks(max(lengths), 1), 1)}",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-MEDIA-SEQUENCE:0",
        f"#EXT-X-PROGRAM-DATE-TIME:{_date(Fraction(0))}",
    ]
    lines += [_date_range(one, section, timeline) for one, section in found]
    media = quoted(timeline.file_name)
    for number, length in enumerate(lengths):
        if number:
            lines += [_cue_out(timeline), "#EXT-X-CUE-IN"]
        lines += [f"#EXTINF:{decimal(length, 6)},", f"{media}#t={decimal(edges[number])},{decimal(edges[number + 1])}"]
    return ("\n".join([*lines, "#EXT-X-ENDLIST"]) + "\n").encode()


def _date_range(one: Break, section: bytes, timeline: Timeline) -> str:
    planned = f",PLANNED-DURATION={decimal(Fraction(timeline.ads.length))}" if timeline.ads.length else ""
    date, out = _date(one.seconds), section.hex().upper()
    return f'#EXT-X-DATERANGE:ID="break-{one.number}",START-DATE="{date}"{planned},SCTE35-OUT=0x{out}'


def _cue_out(timeline: Timeline) -> str:
    """The tag with its duration; 0, where none is planned, means ads that are put in and replace nothing."""
    return f"#EXT-X-CUE-OUT:{timeline.ads.length:g}"


def _date(seconds: Fraction) -> str:
    """ISO 8601 to the microsecond."""
    moment = START + timedelta(microseconds=ticks(seconds, 1_000_000))
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


FORMAT = Format("hls", ".hls.m3u8", "Ad breaks as HLS date ranges and cue tags", write)

"""``scte35``: ad breaks as splice inserts of SCTE 35, for packagers and playout."""

from __future__ import annotations

import base64
import json
from fractions import Fraction
from typing import Any

from megaseg.export.ads.breaks import Break, breaks
from megaseg.export.ads.splice import CLOCK, splice_insert
from megaseg.export.formats import Format
from megaseg.export.timeline import Timeline
from megaseg.media.timecode import decimal, ticks


def sections(timeline: Timeline) -> list[tuple[Break, bytes]]:
    """Each break with its splice_info_section."""
    found, length = breaks(timeline), Fraction(timeline.ads.length)
    return [(one, splice_insert(one.number, one.seconds, length, one.number, len(found))) for one in found]


def write(timeline: Timeline) -> bytes:
    """A JSON list of breaks; times count from the film's start, in seconds and in ticks of 90 kHz."""
    rows = [_row(one, section, timeline) for one, section in sections(timeline)]
    return (json.dumps(rows, indent=1) + "\n").encode()


def _row(one: Break, section: bytes, timeline: Timeline) -> dict[str, Any]:
    return {
        "event_id": one.number,
        "seconds": float(decimal(one.seconds, 6)),
        "pts": ticks(one.seconds, CLOCK),
        "duration": float(timeline.ads.length),
        "hex": f"0x{section.hex().upper()}",
        "base64": base64.b64encode(section).decode(),
    }


FORMAT = Format("scte35", ".scte35.json", "Ad breaks as SCTE 35 splice inserts (base64 and hex)", write)

"""``vmap``: ad breaks for video players, IAB VMAP 1.0. Addresses of ads are the ad server's to add."""

from __future__ import annotations

from megaseg.export.ads.breaks import breaks
from megaseg.export.formats import Format
from megaseg.export.timeline import Timeline
from megaseg.media.timecode import clock

NAMESPACE = "http://www.iab.net/videosuite/vmap"


def write(timeline: Timeline) -> bytes:
    """A linear break of its own id at each time."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f'<vmap:VMAP xmlns:vmap="{NAMESPACE}" version="1.0">']
    for one in breaks(timeline):
        lines.append(
            f'  <vmap:AdBreak timeOffset="{clock(one.seconds)}" breakType="linear" breakId="break-{one.number}"/>'
        )
    return ("\n".join([*lines, "</vmap:VMAP>"]) + "\n").encode()


FORMAT = Format("vmap", ".vmap.xml", "Ad breaks for video players (IAB VMAP 1.0)", write)

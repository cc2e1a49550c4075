"""``vmap``: ad breaks for video players, IAB VMAP 1.0. Addresses of ads are the ad server's to add."""

from __future__ import annotations

from megaseg.export.ads.breaks import breaks
from megaseg.export.formats import Format
from megaseg.export.timeline import Timeline
from megaseg.export.xml_file import document, element
from megaseg.media.timecode import clock

NAMESPACE = "http://www.iab.net/videosuite/vmap"


def write(timeline: Timeline) -> bytes:
    """A linear break of its own id at each time."""
    own = [
        element("vmap:AdBreak", timeOffset=clock(one.seconds), breakType="linear", breakId=f"break-{one.number}")
        for one in breaks(timeline)
    ]
    return document(element("vmap:VMAP", *own, **{"xmlns:vmap": NAMESPACE, "version": "1.0"}))


FORMAT = Format("vmap", ".vmap.xml", "Ad breaks for video players (IAB VMAP 1.0)", write)

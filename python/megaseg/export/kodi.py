"""``kodi``: scene markers, the ``film.edl`` beside a film (MPlayer's grammar, action 2), to skip from scene to scene.

Names have no place in it. https://kodi.wiki/view/Edit_decision_list
"""

from __future__ import annotations

from megaseg.export.formats import Format
from megaseg.export.timeline import Timeline
from megaseg.media.timecode import decimal

SCENE_MARKER = 2


def write(timeline: Timeline) -> bytes:
    """A line a scene: its start twice, since Kodi takes a marker's second time, and the action."""
    starts = [decimal(part.start) for part in timeline.scenes]
    return "".join(f"{start} {start} {SCENE_MARKER}\n" for start in starts).encode()


FORMAT = Format("kodi", ".kodi.edl", "Scene markers for Kodi: save it beside the film as film.edl", write)

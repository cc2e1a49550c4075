"""``json``: the result itself, as ``result.schema.json`` describes it; everything can be decided again from it."""

from __future__ import annotations

from megaseg.export.formats import Format
from megaseg.export.timeline import Timeline


def write(timeline: Timeline) -> bytes:
    """The result's JSON; times stay the film's own, whatever offset the timeline has."""
    return (timeline.result.to_json(indent=1) + "\n").encode()


FORMAT = Format("json", ".json", "The result itself, to decide again and to export later", write, timed=False)

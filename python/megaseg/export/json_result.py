"""``json``: the result itself, as ``result.schema.json`` describes it; everything can be decided again from it."""

from __future__ import annotations

import json

from megaseg.export.formats import Format
from megaseg.export.timeline import Timeline


def write(timeline: Timeline) -> bytes:
    """The result's JSON, a line a member; times stay the film's own, whatever offset the timeline has."""
    members = timeline.result.to_dict().items()
    lines = ",\n ".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in members)
    return f"{{\n {lines}\n}}\n".encode()


FORMAT = Format("json", ".json", "The result itself, to decide again and to export later", write, timed=False)

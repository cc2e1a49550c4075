"""Paragraphs whose kind a file names, as Final Draft does and columns of a page do: to scenes and blocks.

The blocks are those that ``script_text.parse_script`` makes of the same script as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from megaseg.features.screenplay.script.headings import is_heading
from megaseg.features.screenplay.script.speakers import cue_name
from megaseg.features.screenplay.script_text import Parsed, parse_script

# UNKNOWN is a paragraph that its words tell about: a heading, furniture such as a transition, or action.
HEADING, UNKNOWN, CUE, PARENTHETICAL, SPEECH, DROPPED = (
    "heading",
    "unknown",
    "cue",
    "parenthetical",
    "speech",
    "dropped",
)
_CONTINUED = re.compile(r"\(\s*(?:CONT['’.]?\s?D\.?|CONTINUED|MORE)\s*\)", re.IGNORECASE)
_PROBE = "He waits."


class TypedParagraph(NamedTuple):
    """One paragraph; its words may hold line breaks."""

    kind: str
    words: str


def assemble(paragraphs: Iterable[TypedParagraph]) -> Parsed:
    """(scene number, speaker or "", words) of each block; scene numbers grow by one at each heading but (CONT'D)."""
    parsed: Parsed = []
    scene, place, speaker, new = 0, "", "", False
    for kind, raw in paragraphs:
        words = " ".join(_CONTINUED.sub(" ", raw).split())
        if kind == UNKNOWN:
            kind = _told_by_words(words)
        if kind == HEADING and words:
            again = _CONTINUED.search(raw) is not None and words.upper() == place  # on the next page
            scene, place, speaker = scene + (not again), words.upper(), ""
        elif kind == CUE:
            speaker, new = cue_name(words), True
        elif not words or kind in (HEADING, DROPPED):
            continue
        elif kind in (PARENTHETICAL, SPEECH) and speaker:
            if not new and parsed[-1][:2] == (scene, speaker):
                parsed[-1] = (scene, speaker, f"{parsed[-1][2]} {words}")
            else:
                parsed.append((scene, speaker, words))
            new = False
        else:
            parsed.append((scene, "", words))
    return parsed


def _told_by_words(words: str) -> str:
    if is_heading(words):
        return HEADING
    kept = parse_script(f"{_PROBE}\n\n{words}\n\n{_PROBE}")
    return UNKNOWN if len(kept) > 2 else DROPPED

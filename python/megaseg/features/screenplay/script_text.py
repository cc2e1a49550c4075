"""Parse a screenplay in text form: Fountain (fountain.io/syntax), plain text, and text taken from PDFs.

The steps, one module of ``script/`` each: lines, notes, title page, pages, paragraphs in any layout, and here what each
paragraph is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from megaseg.features.screenplay.script.emphasis import without_emphasis
from megaseg.features.screenplay.script.headings import heading_text, is_heading, is_plain_heading
from megaseg.features.screenplay.script.lines import Paragraph, ends_sentence, split_lines
from megaseg.features.screenplay.script.notes import without_notes
from megaseg.features.screenplay.script.pages import page_lines
from megaseg.features.screenplay.script.paragraphs import paragraphs
from megaseg.features.screenplay.script.speakers import cue_name, goes_on, is_cue
from megaseg.features.screenplay.script.title_page import without_title_page
from megaseg.features.screenplay.script.transitions import is_between_scenes, is_transition

_AGAIN = re.compile(r"\(\s{0,3}(?:CONT(?:['’]?D)?|CONTINUED|MORE)\.?\s{0,3}\)", re.IGNORECASE)

Parsed = list[tuple[int, str, str]]


@dataclass(frozen=True, slots=True)
class _Part:
    """A heading, an action paragraph or a speech (``speaker``)."""

    words: str
    speaker: str = ""
    heading: bool = False
    page: bool = False  # a page ended before
    again: bool = False  # the speaker of the page before goes on


def parse_script(text: str) -> Parsed:
    """Script text -> [(scene number, speaker or "", words)], without headings, transitions, notes and page furniture.

    Scene numbers grow by one at each heading; a scene without blocks vanishes. A script without headings has one scene.
    """
    lines = without_title_page(without_notes(split_lines(text)))
    blocks: list[tuple[int, str, list[str]]] = []
    scene, place = 0, ""
    for part in (part for paragraph in paragraphs(page_lines(lines)) for part in _parts(paragraph)):
        if part.heading:
            repeated = part.again and part.words == place
            scene, place = scene + (not repeated), part.words
        elif blocks and blocks[-1][0] == scene and _goes_on(part, *blocks[-1][1:]):
            blocks[-1][2].append(part.words)
        elif part.words:
            blocks.append((scene, part.speaker, [part.words]))
    return [(scene, speaker, " ".join(words)) for scene, speaker, words in blocks]


def _parts(paragraph: Paragraph) -> Iterator[_Part]:
    """What a paragraph holds: headings and lines between scenes first, then a speech or action."""
    page, more = paragraph[0].page, paragraph[0].more
    lines = [line.text for line in paragraph]
    at = 0
    while at < len(lines):
        first = lines[at]
        if is_heading(first):
            yield _Part(_AGAIN.sub("", heading_text(first)).strip().upper(), heading=True, again=goes_on(first))
            at += 1
        elif at + 1 < len(lines) and is_cue(first):
            words = _words(_without_transition(lines[at + 1 :]))
            yield _Part(words, cue_name(first), page=page, again=more or goes_on(first))
            return
        elif is_between_scenes(first):
            at += 1
        else:
            end = _end_of_action(lines, at)
            yield _Part(_words(lines[at:end]), page=page)
            at = end


def _end_of_action(lines: list[str], begin: int) -> int:
    """Index of the line that interrupts an action paragraph: a transition, or a heading after a sentence."""
    for at in range(begin + 1, len(lines)):
        if is_transition(lines[at]) or (ends_sentence(lines[at - 1]) and is_plain_heading(lines[at])):
            return at
    return len(lines)


def _without_transition(speech: list[str]) -> list[str]:
    """Lines of a speech without the transition right below it."""
    last = speech[-1]
    below = len(speech) > 1 and (last.endswith("TO:") or last.startswith(">")) and is_transition(last)
    return speech[:-1] if below else speech


def _words(lines: list[str]) -> str:
    """Words of lines without forcing marks, emphasis and ``(CONT'D)``, one space apart."""
    bare = [line.lstrip("!~").removeprefix("@" if len(lines) == 1 else "") for line in lines]
    text = " ".join(line[1:-1] if line.startswith(">") and line.endswith("<") else line for line in bare)
    return " ".join(without_emphasis(_AGAIN.sub(" ", text)).split())


def _goes_on(part: _Part, speaker: str, words: list[str]) -> bool:
    """Whether a page break alone parts a paragraph from the block before it."""
    if not part.page or not part.words:
        return False
    unended = not ends_sentence(words[-1])
    if part.speaker:
        return part.speaker == speaker and (part.again or unended)
    return unended and part.words[0].islower()

"""Paragraphs of a script in any layout, brought to Fountain's: a blank line before each, a cue right above its speech.

Scripts reach plain text in five layouts: Fountain's; indented columns; a blank line after every line; ``NAME: speech``
in one line; and without any blank line. What a layout says about a line is written as Fountain writes it: ``@`` for a
cue, ``!`` for action.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from megaseg.features.screenplay.script.columns import by_columns, find_columns
from megaseg.features.screenplay.script.headings import is_heading, is_plain_heading
from megaseg.features.screenplay.script.lines import KEEPS_SPEECH, Line, Paragraph, is_complete
from megaseg.features.screenplay.script.speakers import inline_speech, is_cue
from megaseg.features.screenplay.script.transitions import is_between_scenes, is_transition

_FEWEST_LINES = 5  # below this, a script without blank lines is one paragraph
_WRAPPED = range(45, 90)  # length of long lines where a script's lines are wrapped
_SPEECH_WIDTH = 0.65  # of the long lines: the most that a line of a wrapped speech has


def paragraphs(lines: list[Line]) -> list[Paragraph]:
    """Paragraphs of lines in any layout, as Fountain would have them."""
    lines = _single_spaced(lines)
    found = _between_blanks(lines)
    columns, solid = find_columns(found), _is_solid(lines)
    if columns and (columns.parts_speech or not solid):
        return by_columns(found, columns)
    if _is_transcript(found):
        return _transcript(found)
    if solid:
        return _unfolded([line for line in lines if line.text.strip()])
    return _with_speeches(found) if _is_loose(found) else found


def _between_blanks(lines: list[Line]) -> list[Paragraph]:
    """Lines between blank lines; a blank line of two spaces is none inside a speech."""
    found: list[Paragraph] = [[]]
    for line in lines:
        if line.text == KEEPS_SPEECH and any(is_cue(before.text) for before in found[-1][:2]):
            continue
        if not line.text.strip():
            found.append([])
        else:
            found[-1].append(line)
    return [paragraph for paragraph in found if paragraph]


def _single_spaced(lines: list[Line]) -> list[Line]:
    """Lines without the blank line after each, where cues show that one blank line is none: two stand before a cue."""
    gaps: list[int] = []  # blank lines before each line of text
    solid: list[Line] = []
    blank = 0
    for line in lines:
        if line.text.strip():
            gaps.append(blank)
            solid.append(line)
            blank = 0
        else:
            blank += 1
    cues = [i for i, line in enumerate(solid[:-1]) if i and is_cue(line.text) and gaps[i + 1] == 1]
    doubled = sum(gaps[i] > 1 for i in cues)
    if gaps[1:].count(0) * 10 > len(gaps) or not cues or doubled * 4 < len(cues) * 3:
        return lines
    return [line for gap, at in zip(gaps, solid, strict=True) for line in (*[Line("")] * (gap - 1), at)]


def _is_loose(found: list[Paragraph]) -> bool:
    """Cues stand alone, each above a blank line: at least two of them, and more than twice the others."""
    alone = sum(map(_is_lone_cue, found))
    above = sum(len(paragraph) > 1 and is_cue(paragraph[0].text) for paragraph in found)
    return alone >= 2 and alone > 2 * above


def _with_speeches(found: list[Paragraph]) -> list[Paragraph]:
    """Paragraphs where a lone cue has the paragraph below it as its speech, with parentheticals between."""
    joined: list[Paragraph] = []
    index = 0
    while index < len(found):
        paragraph = list(found[index])
        index += 1
        if _is_lone_cue(paragraph) and _speaks(found[index : index + 2]):
            while index < len(found) and found[index][0].text.startswith("(") and found[index][-1].text.endswith(")"):
                paragraph.extend(found[index])
                index += 1
            if index < len(found) and not _opens_scene(found[index]):
                paragraph.extend(found[index])
                index += 1
        joined.append(paragraph)
    return joined


def _is_lone_cue(paragraph: Paragraph) -> bool:
    return len(paragraph) == 1 and is_cue(paragraph[0].text) and not paragraph[0].text.endswith(".")


def _opens_scene(paragraph: Paragraph) -> bool:
    return is_heading(paragraph[0].text) or is_transition(paragraph[0].text)


def _speaks(after: list[Paragraph]) -> bool:
    """Whether the two paragraphs below a lone cue make it one: not where the first is the cue of the second."""
    if not after or _opens_scene(after[0]):
        return False
    named = list(map(_is_lone_cue, after))
    return not (named[0] and len(after) == 2 and not named[1] and not _opens_scene(after[1]))


def _is_transcript(found: list[Paragraph]) -> bool:
    """Speeches are written ``NAME: speech``: three or more, or two and none in a paragraph of its own."""
    speeches = [speech for paragraph in found for line in paragraph if (speech := inline_speech(line.text))]
    names = {name for name, _ in speeches}
    blocks = sum(len(paragraph) > 1 and is_cue(paragraph[0].text) for paragraph in found)
    if len(speeches) == 2:
        return blocks == 0 and all(name.upper() == name for name in names)
    return len(speeches) > max(2, 2 * blocks) and (len(names) < len(speeches) or all(n.upper() == n for n in names))


def _transcript(found: list[Paragraph]) -> list[Paragraph]:
    """Paragraphs of a transcript: each named speech becomes a cue and its words; a name in small letters must recur."""
    speeches = (inline_speech(line.text) for paragraph in found for line in paragraph)
    named = Counter(speech[0] for speech in speeches if speech)
    known = {name for name, count in named.items() if count > 1 or name.upper() == name}
    parts: list[Paragraph] = []
    for paragraph in found:
        begins = True
        for line in paragraph:
            speech = inline_speech(line.text)
            if speech and speech[0] in known:
                parts.append([replace(line, text=f"@{speech[0]}"), Line(speech[1], line.indent)])
            elif begins or is_plain_heading(line.text) or line.text.startswith("["):
                parts.append([line])
            else:
                parts[-1].append(line)
            begins = False
    return parts


def _is_solid(lines: list[Line]) -> bool:
    """No blank lines, or next to none, although the script has headings or cues below its first line."""
    solid = [line for line in lines if line.text.strip()]
    if len(solid) < _FEWEST_LINES or (len(lines) - len(solid)) * 20 > len(solid):
        return False
    return any(is_plain_heading(line.text) for line in solid[1:])


def _unfolded(lines: list[Line]) -> list[Paragraph]:
    """Paragraphs of a script without blank lines: headings, transitions and cues begin one.

    Where a speech ends, only the width of its lines tells, and only if lines are wrapped; else it is one line.
    """
    lengths = sorted(len(line.text) for line in lines)
    longest = lengths[len(lengths) * 95 // 100]
    width = int(longest * _SPEECH_WIDTH) if longest in _WRAPPED else 0
    parts: list[Paragraph] = []
    in_speech = False
    for line in lines:
        last = parts[-1] if parts else []
        below_cue = in_speech and (len(last) == 1 or last[-1].text.startswith("("))
        if below_cue or (in_speech and _goes_on(last[-1], line, width)):
            last.append(line)
            continue
        starts = not last or in_speech or line.page or is_plain_heading(line.text) or is_between_scenes(line.text)
        in_speech = is_cue(line.text) and not line.text.endswith(".")
        if starts or in_speech or _stands_alone(last[-1]):
            parts.append([line])
        else:
            last.append(line)
    return parts


def _goes_on(before: Line, line: Line, width: int) -> bool:
    """Whether a line goes on with the speech above it: not where the line before had room for its first word."""
    if line.page or is_plain_heading(line.text) or is_transition(line.text) or is_cue(line.text):
        return False
    fits = len(before.text) + 1 + len(line.text.split()[0]) <= width
    return line.text.startswith("(") or (len(line.text) <= width and not (fits and is_complete(before)))


def _stands_alone(line: Line) -> bool:
    return is_plain_heading(line.text) or is_between_scenes(line.text)

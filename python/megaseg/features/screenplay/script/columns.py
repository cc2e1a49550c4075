"""Indented columns of a page: action at the left, speeches to its right, cues further right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from megaseg.features.screenplay.script.headings import is_heading, is_plain_heading
from megaseg.features.screenplay.script.lines import Line, Paragraph, is_complete
from megaseg.features.screenplay.script.speakers import is_cue
from megaseg.features.screenplay.script.transitions import is_between_scenes, is_transition

_FEWEST_CUES = 2  # from which on columns are believed
_SHARE = 0.7  # of the cues stand in their column, at least
_DEEPER = 4  # columns between action, speech and cue, at least
_NEAR = 2  # columns within which a line belongs to a column
_LONGEST_NAME = 30  # characters of a cue that only its column shows


@dataclass(frozen=True, slots=True)
class Columns:
    """Indents of a script's page; ``speech`` may be that of ``action``."""

    action: int
    speech: int
    cue: int
    loose: bool  # a blank line stands between a cue and its speech

    @property
    def parts_speech(self) -> bool:
        """Whether the indent tells speech from action."""
        return self.speech - self.action >= _DEEPER


def find_columns(found: list[Paragraph]) -> Columns | None:
    """Columns of a script, None where cues stand no deeper than what follows them."""
    pairs = [pair for paragraph in found for pair in pairwise(paragraph) if is_cue(pair[0].text)]
    below = Counter(after.indent for _, after in pairs if not after.text.startswith("("))
    alone = [paragraph[0] for paragraph in found if len(paragraph) == 1 and is_cue(paragraph[0].text)]
    prose = Counter(line.indent for paragraph in found for line in paragraph if _is_prose(line.text))
    if not prose:
        return None
    often = [indent for indent, count in prose.items() if count * 20 >= prose.total()]
    action = min(often, default=min(prose))
    cues = [cue for cue, _ in pairs] or alone
    deep = Counter(cue.indent for cue in cues if cue.indent >= action + _DEEPER)
    if deep.total() < _FEWEST_CUES or deep.total() < _SHARE * len(cues):
        return None
    cue = deep.most_common(1)[0][0]
    if len(pairs) > len(alone):
        speech = next((indent for indent, _ in below.most_common() if indent < cue), action)
    else:
        speech = max((indent for indent in often if action < indent < cue), key=lambda i: prose[i], default=action)
    return Columns(action, speech, cue, len(alone) > 2 * len(pairs)) if cue - speech >= _DEEPER else None


def _is_prose(text: str) -> bool:
    return any(c.islower() for c in text) and not text.startswith("(") and not is_heading(text)


def by_columns(found: list[Paragraph], columns: Columns) -> list[Paragraph]:
    """Paragraphs parted and joined by their columns; ``@`` before cues and ``!`` before capitals of action."""
    parted = [part for paragraph in found for part in _parts(paragraph, columns)]
    joined: list[Paragraph] = []
    for part in parted:
        if joined and joined[-1][0].text.startswith("@") and _continues(part, joined[-1], columns):
            joined[-1].extend(part)
        else:
            joined.append(part)
    return joined


def _parts(paragraph: Paragraph, columns: Columns) -> Iterator[Paragraph]:
    """Pieces of a paragraph: a cue begins one, and so does action after a speech."""
    piece: Paragraph = []
    for index, line in enumerate(paragraph):
        if _is_cue_here(line, paragraph[index + 1 : index + 2], columns, paragraph[index - 1] if index else None):
            if piece:
                yield piece
            piece = [line if line.text.startswith("@") else replace(line, text=f"@{line.text}")]
        elif piece and _begins(line, piece, columns):
            yield piece
            piece = [line]
        elif not piece and is_cue(line.text) and _is_action(line, paragraph[index + 1 : index + 2], columns):
            piece = [replace(line, text=f"!{line.text}")]
        else:
            piece.append(line)
    yield piece


def _begins(line: Line, piece: Paragraph, columns: Columns) -> bool:
    """Whether a heading, or action below a speech, begins without a blank line."""
    speech = piece[0].text.startswith("@")
    spoken = speech and (columns.parts_speech or piece[-1].text.startswith("("))  # unless it stands where action does
    if is_plain_heading(line.text) and is_complete(piece[-1]) and not spoken:
        return True
    return speech and _ends_speech(line, piece, columns)


def _is_action(line: Line, after: Paragraph, columns: Columns) -> bool:
    """Whether a line in capitals and the line below it both stand where action does."""
    return columns.parts_speech and all(2 * at.indent < columns.action + columns.speech for at in (line, *after))


def _is_cue_here(line: Line, after: Paragraph, columns: Columns, before: Line | None) -> bool:
    """Whether a line stands where cues do; within a paragraph only after a complete sentence."""
    if line.text.startswith("@"):
        return True
    if line.indent < columns.action + _DEEPER or line.indent < columns.speech + _DEEPER:
        return False
    if is_cue(line.text):
        return abs(line.indent - columns.cue) <= (4 * _NEAR if before is None else _NEAR) and is_complete(before)
    if not is_complete(before) or len(line.text) > _LONGEST_NAME:
        return False
    named = line.text[0].isupper() and line.text[-1] not in ".,:;!?-–—)"
    spoken = bool(after) and abs(after[0].indent - columns.speech) <= _NEAR and not is_between_scenes(line.text)
    return named and spoken and abs(line.indent - columns.cue) <= _NEAR and not is_heading(line.text)


def _ends_speech(line: Line, piece: Paragraph, columns: Columns) -> bool:
    """Whether a line below a speech stands where action or a transition does."""
    if len(piece) > 1 and line.indent > columns.cue + _DEEPER and is_transition(line.text):
        return True
    return columns.parts_speech and 2 * line.indent < columns.action + columns.speech


def _continues(part: Paragraph, speech: Paragraph, columns: Columns) -> bool:
    """Whether a paragraph stands where the speech above it does, a blank line apart."""
    first = part[0].text
    if first[:1] in "@!" or is_heading(first):
        return False
    empty = len(speech) == 1 or speech[-1].text.startswith("(")
    if is_between_scenes(first) and not (empty and first.strip(".").isdigit()):
        return False
    if empty and columns.loose and not columns.parts_speech:
        return True
    near = all(line.indent - columns.speech in range(-_NEAR, columns.cue - columns.speech + 1) for line in part)
    return columns.parts_speech and near and abs(part[-1].indent - columns.speech) <= _NEAR + 2

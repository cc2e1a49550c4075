"""Lines of a script, whatever line ends, spaces and invisible characters its file holds."""

from __future__ import annotations

import re
from dataclasses import dataclass

PAGE_BREAK = "\f"  # a line of its own in the lists of this module
KEEPS_SPEECH = "  "  # a blank line of two spaces keeps a speech or note going (Fountain)
_MOST_KEPT = 2  # more such lines than this, and more than half of the blank lines: an editor's habit, not Fountain

_LINE_END = re.compile("\r{1,3}\n|[\r\n\v\x1c\x1d\x1e\u2028\u2029]")  # CR CR LF: a CRLF file written as text again
_ESCAPE_CODE = re.compile(r"\x1b(?:\[[\d;?]{0,16}[@-~]|\][^\x07\x1b\n]{0,200}(?:\x07|\x1b\\)|[()][0-9A-Z])")
_MARKUP = re.compile(r"</?(?:b|i|u|em|strong)>", re.IGNORECASE)  # left over in scripts copied from web pages
_SPACES = [0xA0, 0x1680, 0x180E, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x2800, 0x3000, 0x3164]
_INVISIBLE = [0xAD, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2060, 0x206A), 0xFEFF]
_CONTROLS = [code for code in (*range(0x20), 0x7F) if chr(code) not in "\t\n\v\f\r\x1c\x1d\x1e"]
# Windows-1252 that was read as Latin-1: an ellipsis is not the line end NEL, a curly apostrophe not a control.
_WINDOWS = {code: bytes([code]).decode("cp1252", errors="ignore") for code in range(0x80, 0xA0)}
_PLAIN = dict.fromkeys(_SPACES, " ") | dict.fromkeys(_INVISIBLE + _CONTROLS, "") | _WINDOWS
_NEL = "\x85"
_PARAGRAPH_END = "\u2029"
_NEL_BREAKS = re.compile(r"\x85(?![ \n\"'”’)?!.,a-z])")
_ENDS = frozenset(".!?:…\"”»)]'’-–—")  # last characters of a complete sentence


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text without its indent (columns); ``page`` and ``more`` say what stood between it and the last one."""

    text: str
    indent: int = 0
    page: bool = False  # a page ended
    more: bool = False  # ... in the middle of a speech, says the script


Paragraph = list[Line]


def split_lines(text: str) -> list[str]:
    """Lines with plain spaces and without trailing ones; a form feed is a line ``PAGE_BREAK``, a blank line is empty.

    A line of two plain spaces stays as ``KEEPS_SPEECH`` where the script uses such lines with intent.
    """
    text = _MARKUP.sub("", _ESCAPE_CODE.sub("", text)).replace(PAGE_BREAK, f"\n{PAGE_BREAK}\n")
    text = text if 2 * _PARAGRAPH_END in text else text.replace(_PARAGRAPH_END, "\n\n")
    text = text.replace(_NEL, "\n") if text.count(_NEL) > text.count("\n") else _NEL_BREAKS.sub("\n", text)
    lines = [_plain(line) for line in _LINE_END.split(text)]
    kept = lines.count(KEEPS_SPEECH)
    if kept > _MOST_KEPT and kept > lines.count(""):
        lines = ["" if line == KEEPS_SPEECH else line for line in lines]
    return lines


def _plain(line: str) -> str:
    if line in (PAGE_BREAK, KEEPS_SPEECH):
        return line
    if not line.strip():
        return ""
    return line.translate(_PLAIN).expandtabs().rstrip().rstrip("\u200c\u200d")


def is_complete(line: Line | None) -> bool:
    """Whether a line ends as a sentence does, so that what follows it may be something else."""
    return line is None or ends_sentence(line.text)


def ends_sentence(text: str) -> bool:
    """Whether the last character of a text, emphasis left out, can end a sentence."""
    return text.rstrip("*_ ")[-1:] in _ENDS


def indent_of(line: str) -> int:
    """Number of spaces before the text of a line."""
    return len(line) - len(line.lstrip())

"""Parse a screenplay in text form: Fountain (fountain.io/syntax) or plain text as scripts circulate on the web."""

from __future__ import annotations

import re

_HEADING = re.compile(
    r"^(?:[A-Z]?\d+[A-Z]*[.)]?\s+)?(?:INT|EXT|EST|I/E|INT\.?/EXT|EXT\.?/INT)(?:[.:\s/-].*|)$", re.IGNORECASE
)
_TRANSITION = re.compile(
    r"^(?:(?:FADE|CUT|DISSOLVE|SMASH|MATCH|JUMP|HARD|QUICK|TIME|SLOW|WIPE|IRIS|BACK)\b[A-Z \-]*"
    r"\b(?:TO|IN|OUT|BLACK|WHITE|ON|UP)\b[A-Z ]*[:.]?|[A-Z][A-Z ]* TO:|THE END\.?|FADE (?:IN|OUT)[:.]?)$"
)
_FURNITURE = re.compile(
    r"^(?:\(?(?:CONTINUED|MORE|CONT'?D)\)?:?(?:\s*\(\d+\))?|CONTINUED:.*|(?:\d+[A-Z]?[ .]*)?OMITTED.*"
    r"|(?:page\s+)?\d+[A-Z]?\.?|={3,}|[-*_]{3,})$",
    re.IGNORECASE,
)
_CUE = re.compile(r"^(?=.*[A-Z])[^a-z:!?]{1,40}$")
_EXTENSION = re.compile(r"\s*\((?:[^)]*)\)?|\s*\^$")
_EMPHASIS = re.compile(r"(?<!\\)(\*{1,3}|_)(?=\S)(.+?)(?<=\S)\1")
_NOTE = re.compile(r"/\*|\[\[")
_CLOSING = {"/*": "*/", "[[": "]]"}
_MOST_STEPS = 10_000_000  # of a search for emphasis, which is quadratic where it is never closed
_TITLE_PAGE = re.compile(r"\A\s*(?:[A-Z][\w ]*:[^\n]*\n(?:[ \t]+\S[^\n]*\n)*)+\s*\n", re.IGNORECASE)

Parsed = list[tuple[int, str, str]]


def parse_script(text: str) -> Parsed:
    """Script text -> [(scene number, speaker or "", words)], without headings, transitions, notes and page furniture.

    Scene numbers grow by one at each heading; a scene without blocks vanishes. A script without headings has one scene.
    """
    text = _without_notes(text.expandtabs().replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n\n"))
    if re.match(r"\s*(?:Title|Credit|Author|Source)\s*:", text, re.IGNORECASE):
        text = _TITLE_PAGE.sub("", text)
    parsed: Parsed = []
    scene = 0
    for paragraph in re.split(r"\n[ ]*\n", text):
        lines = [line for line in map(str.strip, paragraph.split("\n")) if line and not _is_furniture(line)]
        for is_heading, rest in _split_headings(lines):
            scene += is_heading
            speaker, words = _speech(rest)
            if words:
                parsed.append((scene, speaker, words))
    return _rejoin(parsed)


def _without_notes(text: str) -> str:
    """Text without ``/* */`` and ``[[ ]]``, in time that grows with its length whatever is in it."""
    last = {opening: text.rfind(closing) for opening, closing in _CLOSING.items()}
    kept, begin, place = [], 0, 0
    while note := _NOTE.search(text, place):
        if last[note[0]] < note.end():
            place = note.start() + 1
            continue
        kept.append(text[begin : note.start()])
        begin = place = text.find(_CLOSING[note[0]], note.end()) + 2
    return "".join([*kept, text[begin:]])


def _is_furniture(line: str) -> bool:
    if line.startswith("!") or line.startswith("@"):
        return False
    centred = line.startswith(">") and line.endswith("<")
    fountain = line.startswith(">") or re.match(r"^(?:#+ ?|= ?)\S", line) is not None
    return not centred and bool(fountain or _FURNITURE.match(line) or _TRANSITION.match(line))


def _is_heading(line: str) -> bool:
    return bool(_HEADING.match(line)) or re.match(r"^\.[A-Za-z0-9]", line) is not None


def _split_headings(lines: list[str]) -> list[tuple[bool, list[str]]]:
    """Lines of one paragraph -> [(opens a scene, the lines that follow the heading)]."""
    groups: list[tuple[bool, list[str]]] = [(False, [])]
    for line in lines:
        if _is_heading(line):
            groups.append((True, []))
        else:
            groups[-1][1].append(line)
    return groups


def _speech(lines: list[str]) -> tuple[str, str]:
    """Lines of one paragraph -> (speaker, words): a cue line above other lines makes it a speech."""
    lines = [line for line in lines if line]
    if len(lines) > 1:
        forced = lines[0].startswith("@")
        name = _EXTENSION.sub("", lines[0].lstrip("@")).strip()
        if name and (forced or (_CUE.match(name) and not lines[0].startswith("!"))):
            return name.upper(), _clean(lines[1:])
    return "", _clean(lines)


def _clean(lines: list[str]) -> str:
    words = " ".join(line.lstrip("!~").strip("><").strip() for line in lines)
    words = re.sub(r"\(\s*(?:CONT'?D|CONTINUED|MORE)\s*\)", "", words, flags=re.IGNORECASE)
    if (words.count("*") + words.count("_")) * len(words) <= _MOST_STEPS:
        words = _EMPHASIS.sub(r"\2", words)
    return " ".join(words.split())


def _rejoin(parsed: Parsed) -> Parsed:
    """A cue parted from its speech by a page break or by double spacing: give the speech back to its speaker."""
    joined: Parsed = []
    index = 0
    while index < len(parsed):
        scene, speaker, words = parsed[index]
        follows = index + 1 < len(parsed) and parsed[index + 1][0] == scene and not parsed[index + 1][1]
        parenthetical = bool(speaker) and words.startswith("(") and words.endswith(")") and words.count("(") == 1
        if follows and parenthetical:
            joined.append((scene, speaker, f"{words} {parsed[index + 1][2]}"))
            index += 2
        else:
            joined.append((scene, speaker, words))
            index += 1
    return joined

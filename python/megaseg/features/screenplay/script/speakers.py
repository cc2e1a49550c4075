"""Cues: the lines that name who speaks, ``ANNA (V.O.)``, and the names in them."""

from __future__ import annotations

import re

from megaseg.features.screenplay.script.emphasis import without_marks
from megaseg.features.screenplay.script.headings import is_heading

_LONGEST = 40  # characters of a name
_MOST_WORDS = 7
_MOST_INLINE = 4  # words of a name with its speech behind it
_IN_PARENTHESES = re.compile(r"\([^()]{0,80}(?:\)|$)")
# V.O., O.S. and the like without parentheses
_BARE = re.compile(r"[\s,–—-]{1,4}(?:CONT['’]?D|V\.\s?O\.?|O\.\s?S\.?|O\.\s?C\.?|VO|OS)[.:]?$", re.IGNORECASE)
_AGAIN = re.compile(r"\bCONT(?:['’.]?D|INUED|INUING|\.)|\bFORTS\.|\bSUITE\b|\bSEGUE\b|ПРОД", re.IGNORECASE)
_SMALL_WORDS = "a and und et y e & of the w/ with to de del della la le von van 's"
_SMALL = frozenset(_SMALL_WORDS.split())
_PREFIX = re.compile(r"(?:Mc|Mac|De|Di|Du|La|Le|Von|Van|Fitz|O['’]|d['’]|l['’])(?=[^\W\d_])")
_PLURAL = re.compile(r"['’]s$|(?<=[A-Z])s$")
# First words of capital lines that are shots, titles and the like, never somebody who speaks.
_NOBODY = re.compile(
    r"(?:ANGLE|CLOSE ?UP|CLOSE (?:ON|SHOT|ANGLE)|CLOSER|WIDE(?:R)? (?:ON|SHOT|ANGLE)|INSERT|INTERCUT|MONTAGE|SERIES OF"
    r"|SUPER(?:IMPOSE)?|TITLES?(?: CARD| OVER)?|(?:OPENING|END|MAIN|CLOSING) (?:TITLES|CREDITS)|POV|P\.O\.V|FLASHBACK"
    r"|END (?:OF )?(?:FLASHBACK|MONTAGE|INTERCUT)|BEGIN (?:FLASHBACK|MONTAGE)|BACK TO|CUT TO|FADE|DISSOLVE|SMASH CUT"
    r"|MATCH CUT|THE END|CAMERA|NEW ANGLE|ANOTHER ANGLE|REVERSE ANGLE|SPLIT SCREEN|CONTINUED|OMITTED|LATER|NOTE|TEASER"
    r"|COLD OPEN(?:ING)?|(?:END (?:OF )?)?ACT (?:ONE|TWO|THREE|FOUR|FIVE|SIX|[IVX]{1,4}|\d))"
    r"(?=$|[\s:.,–—-])(?!['’])"
)
_INLINE = re.compile(r"(?P<name>[^\s:(\[][^:\n]{0,60}?)\s{0,3}:(?:\s{1,8}|\t)(?=\S)")
_NO_NAMES = """
note notes title super insert time date place setting scene act characters cast sound music camera voice over cut fade
later meanwhile then warning ps chorus verse int ext
"""
_NO_NAME = frozenset(_NO_NAMES.split())


def cue_name(line: str) -> str:
    """The name in a cue, in capitals: no ``@``, ``^``, emphasis or extension such as ``(CONT'D)`` and ``V.O.``."""
    name = without_marks(line.strip()).removeprefix("@").rstrip("^ ")
    name = _IN_PARENTHESES.sub(" ", name) if len(name) <= 4 * _LONGEST else name
    name = " ".join(name.split())
    name = _BARE.sub("", name[:200]) or name
    return name.rstrip(" :,;–—-").strip().upper()


def goes_on(line: str) -> bool:
    """True for a cue that says that its speaker goes on: ``ANNA (CONT'D)``."""
    return len(line) <= 4 * _LONGEST and _AGAIN.search(line) is not None


def is_cue(line: str) -> bool:
    """True if a line names a speaker where speech follows: a name in capitals, or one forced by ``@``."""
    if line.lstrip("*_").startswith("@"):
        return bool(cue_name(line))
    if len(line) > 4 * _LONGEST or line[:1] in "!.>~=#(" or line.endswith("TO:"):
        return False
    name = _as_written(line)
    if not 0 < len(name) <= _LONGEST or name[-1] in "!?:;–—-" or name.endswith("..") or _NOBODY.match(name):
        return False
    words = name.split()
    if "(" in name or ")" in name or _is_number(words):
        return False
    return len(words) <= _MOST_WORDS and _in_capitals(words) and not is_heading(line)


def _is_number(words: list[str]) -> bool:
    """Scene numbers, ``12A`` or ``A12   A12``, are no names, ``R2D2`` is."""
    twice = len(words) > 1 and words[0] == words[-1] and any(c.isdigit() for c in words[0])
    return twice or all(word[0].isdigit() for word in words)


def _as_written(line: str) -> str:
    """The name of a cue with its case, for telling capitals; one colon may stand behind it."""
    name = without_marks(line.strip()).rstrip("^ ")
    name = " ".join(_IN_PARENTHESES.sub(" ", name).split())
    return (_BARE.sub("", name) or name).removesuffix(":").strip()


def _in_capitals(words: list[str]) -> bool:
    """True if the words are capitals, but for ``and``, ``Mc`` and a plural's or owner's s."""
    big = [_PLURAL.sub("", _PREFIX.sub("", word)) for word in words if word not in _SMALL]
    return any(c.isupper() for word in big for c in word) and not any(c.islower() for word in big for c in word)


def inline_speech(line: str) -> tuple[str, str] | None:
    """``ANNA: Hello.`` -> (``ANNA``, ``Hello.``), if that can be a cue with its speech."""
    found = _INLINE.match(line)
    if not found or is_heading(line):
        return None
    name = _as_written(found["name"])
    words = name.split()
    if (
        not 0 < len(name) <= _LONGEST
        or len(words) > 4
        or words[0].lower().strip(".") in _NO_NAME
        or _NOBODY.match(name)
    ):
        return None
    named = all(word in _SMALL or not word[0].islower() for word in words) and any(c.isupper() for c in name)
    return (name, line[found.end() :].strip()) if named else None

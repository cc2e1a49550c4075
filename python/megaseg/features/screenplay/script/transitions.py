"""What stands between scenes and is no part of the story: transitions, omitted scenes, acts, sections, numbers.

The same words in a speech are speech, so a paragraph is asked first whether it is one.
"""

from __future__ import annotations

import re

from megaseg.features.screenplay.script.emphasis import without_marks

_LONGEST = 120  # characters of a line that gives numbers of scenes or pages
_SCENES = r"(?:[A-Z]{0,2}\d[\dA-Z ,.&–—-]{0,40}(?:(?:THRU|THROUGH|TO|AND)\s[\dA-Z .]{1,12})?)"
_OMITTED = re.compile(
    rf"(?:SCENES?\s)?(?:{_SCENES}\s{{0,60}})?(?:SCENES?\s)?\(?(?:OMIT(?:TED|S)?|[Oo]mitted)\)?[.:]?"
    rf"(?:\s{{1,80}}{_SCENES}[\s*]{{0,9}})?$"
)
_NUMBER = re.compile(
    r"(?:PAGE|PG\.?|P\.|P[ÁA]GINA|P[ÁA]G\.|SEITE|стр\.)?\s?[-–—(\[]{0,2}\s?\d{1,3}[A-Z]?\s?[-–—)\]]{0,2}\.?(?:\s?(?:/|OF)\s?\d{1,4})?$"
    r"|(?P<scene>[A-Z]{0,2}\d{1,3}[A-Z]{0,2})[.)]?\s{1,100}(?P=scene)[.)]?$",
    re.IGNORECASE,
)
_ACT = re.compile(
    r"(?:END (?:OF )?)?(?:THE )?(?:ACT (?:ONE|TWO|THREE|FOUR|FIVE|SIX|[IVX]{1,4}|\d)|TEASER|COLD OPEN(?:ING)?)"
    r"(?: CONT['’]D)?[.:]?$"
)
_CUT = r"(?:SMASH |MATCH |JUMP |HARD |QUICK |TIME |SLOW |CROSS |SHOCK |FAST )?(?:CUT|FADE|DISSOLVE|WIPE|IRIS)"
_TRANSITION = re.compile(
    rf"(?:THE\s)?(?:{_CUT}(?:\s(?:BACK|IN|OUT|UP|DOWN|ON|OFF|TO|THROUGH|FROM|BLACK|WHITE)){{0,4}}[.:]{{1,2}}"
    rf"|{_CUT}\s(?:IN|OUT|UP|TO BLACK|TO WHITE|TO|BACK TO)"
    r"|BACK TO (?:SCENE|PRESENT(?: DAY)?)[.:]?|INTERCUT[.:]?|THE END[.:]?|FIN[.:]|END CREDITS[.:]?"
    r"|FUNDIDO (?:A NEGRO|EN NEGRO)[.:]?|CORTE A:?|FONDU (?:AU NOIR|ENCHAÎNÉ)[.:]?|(?:COUPE|CUT) [ÀA]\s?:|SCHNITT[.:]"
    r"|ABBLENDE[.:]?|AUFBLENDE[.:]?|DISSOLVENZA[^a-z]{0,30}|STACCO[^a-z]{0,10}|ЗТМ[.:]?|ИЗ ЗТМ[.:]?)$",
    re.IGNORECASE,
)
_MOST_WORDS = 8  # of a transition that is none of the above
_OPENER = {"FADE", "CUT", "DISSOLVE", "SMASH", "MATCH", "JUMP", "HARD", "QUICK", "TIME", "SLOW", "WIPE", "IRIS"}
_DIRECTION = {"TO", "IN", "OUT", "BLACK", "WHITE", "ON", "UP"}


def is_transition(text: str) -> bool:
    """``CUT TO:``, ``FADE OUT.`` and the like, and what ``>`` forces to be one."""
    if text.startswith(">"):
        return not text.endswith("<")
    bare = without_marks(text)
    if not 3 <= len(bare) <= 80:
        return False
    if _TRANSITION.match(bare) or (f" {bare}".endswith(" TO:") and bare.upper() == bare):
        return True
    words = bare.rstrip(":.").split()
    if bare.upper() != bare or not 1 < len(words) <= _MOST_WORDS:
        return False
    return words[0] in _OPENER and not _DIRECTION.isdisjoint(words[1:])


def is_between_scenes(text: str) -> bool:
    """True for a line outside speeches that is no part of the story: transitions, omitted scenes, sections, numbers."""
    bare = without_marks(text)
    if not bare or set(bare) <= set("-=~·• "):  # rules, ===, ***
        return True
    if re.match(r"#{1,6}\s{0,3}[^\s#\d]|#{2,6}\s|#\s|=\s{0,3}[^\s=]", text):
        return True
    if is_transition(text):
        return True
    short = len(bare) <= _LONGEST
    return short and any(pattern.match(bare) for pattern in (_OMITTED, _NUMBER, _ACT))

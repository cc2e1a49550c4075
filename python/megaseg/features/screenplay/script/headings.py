"""Scene headings: ``INT. HOUSE - DAY``, in the forms that scripts use, and those that Fountain forces with a dot.

A heading that is missed stays in the text as a line that gives the scene away, so this module is generous; what only
looks like a heading (``Est-ce que ...``, ``Interior lights flicker.``) is kept out by case and by what follows.
"""

from __future__ import annotations

import re

from megaseg.features.screenplay.script.emphasis import without_marks

_LONGEST = 200  # characters of a heading that INT or EXT does not begin
_BULLETS = "-–—•>~ "  # before a heading that is a transition or an entry of a list by mistake
_SURE = "INT|EXT|ИНТ|НАТ|ЭКСТ|ПАВ|ІНТ|ЕКСТ|ΕΣΩΤ|ΕΞΩΤ"
_SHORT = f"{_SURE}|EST"
_LONG = (
    "INTERIOR|EXTERIOR|ESTABLISHING|INT[ÉE]RIEUR|EXT[ÉE]RIEUR|INTERNO|ESTERNO|INNEN|AU(?:SS|ß|ẞ)EN|INTERIÖR|EXTERIÖR"
    "|BINNEN|BUITEN|WNĘTRZE|PLENER|BELSŐ|KÜLSŐ|İÇ|DIŞ|ИНТЕРЬЕР|ЭКСТЕРЬЕР|НАТУРА|ПАВИЛЬОН|内景|外景|內景"
)
_PAIR = r"I\.?\s?/\s?E|E\.?\s?/\s?I"
_KIND = rf"(?:{_PAIR}|{_LONG}|{_SHORT}|I(?=[./]{{1,2}}\s?EXT)|E(?=[./]{{1,2}}\s?INT))"
_NUMBER = r"(?:[A-Z]{0,2}-?\d{1,4}(?:[A-ZА-Я]{1,2}|[.-][A-ZА-Я\d]{1,3}){0,3})"
_SCENE = (
    r"(?:SCENE|SCÈNE|SCENA|ESCENA|CENA|SZENE|СЦЕНА|S[ÉE]QUENCE|SECUENCIA|SEQUENZA|BILD|(?:SC|SEQ|SEC|ESC)\.?|S(?=\s?#))"
)
_TEENS = "TEN|ELEVEN|TWELVE|(?:THIR|FOUR|FIF|SIX|SEVEN|EIGH|NINE)TEEN"
_TENS = "(?:TWEN|THIR|FOR|FIF|SIX|SEVEN|EIGH|NINE)TY(?:-[A-Z]{3,5})?"
_IN_WORDS = f"ONE|TWO|THREE|FOUR|FIVE|SIX|SEVEN|EIGHT|NINE|{_TEENS}|{_TENS}"
_BEFORE = rf"(?:{_SCENE}?\s{{0,3}}(?:[#№(\[]|N[OR°]\.?)?\s{{0,2}}{_NUMBER}\s{{0,2}}[#)\].:,、/–—-]{{0,3}}\s{{0,80}})?"

_OPENING = re.compile(
    rf"(?P<number>{_BEFORE})(?P<kind>{_KIND}(?:[.\s/\\&+,–—-]{{1,8}}(?:AND\s)?{_KIND}){{0,2}})"
    r"(?P<mark>\s{0,3}[.:/,(\[–—。：]|\s{1,3}-|-|\s|$)"
)
_NUMBERED = re.compile(
    rf"{_SCENE}(?:\s{{0,3}}[#№.:]\s{{0,3}}|\s{{1,3}})(?:{_NUMBER}|[IVXL]{{1,6}}|{_IN_WORDS})"
    r"(?P<mark>\s{0,3}$|\s{0,2}[.:)–—-]{1,2}(?=\s|$)|\s)"
)
_WITH_TIME = re.compile(
    rf"{_NUMBER}[.)]?\s{{1,60}}[^a-z]{{1,80}}[-–—,.]\s{{0,3}}(?:DAY|NIGHT|MORNING|EVENING|AFTERNOON|DAWN|DUSK|NOON|LATER)\b"
)
# FLASHBACK - INTERIOR. HOUSE; CUT TO: EXT. STREET; 12 & 13 INT. HALL
_LEAD = re.compile(
    rf"(?:[:)]|\s[-–—]{{1,2}}|\sTO)\s{{1,40}}(?=(?:{_PAIR}|(?:{_LONG}|{_SHORT})[./]))"
    rf"|(?<=\s)(?={_PAIR}\s|(?:{_SURE})[./]\s{{0,3}}[^\W\d_])"
)
_NUMBER_AFTER = re.compile(rf"(?:\s{{0,3}}#[^#\s]{{1,12}}#|\s{{3,80}}{_NUMBER}[.)]?)$")
_TIME = re.compile(r"(?:day|night|jour|nuit|tag|nacht|d[ií]a|noche|giorno|notte|день|ночь)\b", re.IGNORECASE)
_FORCED = re.compile(r"\.[\"'“‘«„(\[【「『《（#¿¡]?\w")


def is_heading(line: str) -> bool:
    """True if a line opens a scene where it stands at the start of a paragraph."""
    bare = without_marks(line.strip())
    if _is_forced(bare):
        return True
    if bare.startswith("#") and not _OPENING.match(_upper(bare)):  # a section that holds a heading; #12# is a number
        bare = bare.lstrip("#").lstrip()
    if _is_upper(bare) and _LEAD.search(bare[:80]):
        return True
    opening = _OPENING.match(_upper(bare))
    if opening and _is_place(bare, opening):
        return True
    return _is_numbered(bare) or (bare[:1] in _BULLETS and is_plain_heading(bare.lstrip(_BULLETS)))


def is_plain_heading(line: str) -> bool:
    """True for a heading that cannot be anything else: INT. or EXT. and a place, all in capitals."""
    bare = without_marks(line.strip())
    opening = _OPENING.match(bare)
    if not opening or not _is_upper(bare):
        return False
    return any(sign in opening["kind"] + opening["mark"] for sign in "./") and len(bare) > opening.end()


def heading_text(line: str) -> str:
    """A heading without emphasis, forcing dot and scene numbers: ``12 **INT. HALL** #12#`` -> ``INT. HALL``."""
    bare = without_marks(line.strip())
    if _is_forced(bare):
        bare = bare[1:]
    opening = _OPENING.match(_upper(bare))
    if opening:
        bare = bare[opening.end("number") :]
    return _NUMBER_AFTER.sub("", bare).strip()


def _is_forced(bare: str) -> bool:
    return _FORCED.match(bare) is not None and not bare.startswith("..")


def _upper(text: str) -> str:
    """Capitals, letter for letter, so that places in both texts agree."""
    upper = text.upper()
    return upper if len(upper) == len(text) else "".join(c.upper() if len(c.upper()) == 1 else c for c in text)


def _is_upper(text: str) -> bool:
    return _upper(text) == text and text.lower() != text


def _is_place(bare: str, opening: re.Match[str]) -> bool:
    """Whether what follows INT, EXT and the like can be a place, by case and punctuation."""
    start, end = opening.span("kind")
    kind, mark, rest = bare[start:end], opening["mark"].strip(), bare[opening.end() :]
    if kind.upper() == "EST" and re.match(
        r"-\w|\.\s?\d{4}|[^.]*[?!]$", bare[end:]
    ):  # Est-ce que; Est. 1950; EST IL MORT ?
        return False
    if "/" in kind or "/" in mark or mark == ":":
        return True
    if re.fullmatch(_SHORT, kind.upper()) and mark == ".":
        return True
    sentence = bare[-1:] in ".!?;," and bool(rest.strip())
    if kind == _upper(kind):
        return bare == _upper(bare) or not sentence
    if kind.upper() == "EST" or (mark == "-" and not opening["mark"].startswith(" ")):
        return False
    if re.fullmatch(_LONG, kind.upper()):
        return mark in (".", "–", "—", "-", "(") or not rest.strip() or _TIME.match(rest.strip()) is not None
    return not sentence and len(bare) <= 60


def _is_numbered(bare: str) -> bool:
    """SCENE 12; 12  KITCHEN  12; 12. KITCHEN - DAY."""
    scene = _NUMBERED.match(_upper(bare))
    if scene:
        return bool(scene["mark"].strip()) or scene.end() == len(bare) or _is_upper(bare)
    if len(bare) > _LONGEST or not _is_upper(bare):
        return False
    words = bare.split()
    first, last = words[0].strip(".()#"), words[-1].strip(".()#")
    place = "".join(words[1:-1])
    named = sum(map(str.isalpha, place)) > 2 and not place.startswith(("OMIT", "CONTINUED"))
    both = named and first == last and re.fullmatch(_NUMBER, first) is not None
    return both or _WITH_TIME.match(bare) is not None

"""Which 8-bit or East Asian encoding a text without a mark is in: charset-normalizer's candidates, judged by alphabets.

A detector's own order is poor on a script of a few accents: in 600 bytes of which six are not ASCII, Windows-1250 looks
as good as Windows-1252. A candidate is judged by whether one language explains all that it makes of those bytes.
"""

from __future__ import annotations

from functools import cache

from megaseg.errors import UnsupportedError

_WESTERN = "àâçéèêëîïôûùüÿœæ áéíóúñüàèòçï äöüß áâãàçéêíóôõúü àèéìíîòóùú åäöéæøüàèê áðéíóúýþæö êéëïóöüèíàç"
_CENTRAL = "áäčďéěíĺľňóôŕřšťúůýž ąćęłńóśźżé áéíóöőúüű ăâîşţșțé čćđšžéä äöüß áâãàçéêíóôõúü àâçéèêëîïôûùüÿœæ"
_CYRILLIC = (
    "абвгдеёжзийклмнопрстуфхцчшщъыьэюя абвгґдеєжзиіїйклмнопрстуфхцчшщьюя абвгдеёжзійклмнопрстуўфхцчшыьэюя "
    "абвгдђежзијклљмнњопрстћуфхцчџшѓќѕ"
)
_GREEK = "αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώϊϋΐΰ"
_HEBREW = "אבגדהוזחטיךכלםמןנסעףפץצקרשת"
_TURKISH = "çğıöşüâîû"
_BALTIC = "ąčęėįšųūžāēģīķļņõäöü"
# Encodings in order of preference, and the alphabets (one a language) of what is written in each.
_ALPHABETS = {
    "cp1252": _WESTERN,
    "mac_roman": _WESTERN,
    "iso8859_15": _WESTERN,
    "cp850": _WESTERN,
    "cp1250": _CENTRAL,
    "iso8859_2": _CENTRAL,
    "cp1255": _HEBREW,
    "cp1251": _CYRILLIC,
    "cp1254": _TURKISH,
    "cp1253": _GREEK,
    "iso8859_7": _GREEK,
    "cp1257": _BALTIC,
    "koi8_r": _CYRILLIC,
    "cp866": _CYRILLIC,
    "iso8859_5": _CYRILLIC,
    "mac_cyrillic": _CYRILLIC,
}
_WESTERNS = 4  # the first of them, which are of Western languages
# Encodings whose texts the detector knows by itself, since letters beyond ASCII are most of them.
_BY_DETECTOR = ("shift_jis", "euc_jp", "gb18030", "big5", "euc_kr", "cp1256", "cp874")
_LEAST_FOREIGN = 0.02  # share of bytes beyond ASCII, below which a script is of a Western language
_LEAST_IN_LINES = 0.4  # ... unless that share of the lines that have some, which then are of another alphabet
_NAMES = {"cp1252": "Windows-1252", "mac_roman": "Mac Roman", "cp1250": "Windows-1250", "cp1251": "Windows-1251"}
_ALONE = "ÉÊÐÑÒÔÕ"  # capitals that are no words: Mac Roman's dots, spaces, dashes and quotes, read as Windows-1252
_MARKS = frozenset("±²³¹÷¢¥µ‘’‚‛“”„«»‹›–—…¿¡·•°ºª§©®™€£½¼¾×´№″′\u00a0\u00ad\u2009\u202f")
_MOST_ODD = 0.25  # share of the characters beyond ASCII that a candidate may leave unexplained
_FEW = 0.001  # ... unless they are this share of all characters: a few that were wrong before
_MOST_EVIDENCE = 1 << 15  # bytes of lines that are not ASCII


def guess(content: bytes, where: str) -> tuple[str, str] | None:
    """(text, name of its encoding) of bytes that are not UTF; None when no known encoding explains them.

    Raises:
        UnsupportedError: charset-normalizer, of the extra ``text``, is not installed.
    """
    try:
        from charset_normalizer import from_bytes
    except ImportError as error:
        raise UnsupportedError(
            f"{where}: expected text in UTF-8; text of other encodings needs {error.name}: pip install 'megaseg[text]'"
        ) from error
    evidence = _evidence(content)
    foreign = _foreign(content)
    every = foreign > _LEAST_FOREIGN or _foreign(evidence) > _LEAST_IN_LINES
    names = [*_ALPHABETS, *_BY_DETECTOR] if every else list(_ALPHABETS)[:_WESTERNS]
    found = from_bytes(evidence, cp_isolation=names, enable_fallback=False)
    listed = {match.encoding: float(match.chaos) for match in found}
    odd = {}
    for name in names:
        text = _decoded(content, evidence, name)
        if text is not None and (name in _ALPHABETS or name in listed):
            odd[name] = _unexplained(text, name) if name in _ALPHABETS else listed[name] + _mixed(text)
    odd |= {"cp850": odd["cp850"] + 0.1} if "cp850" in odd else {}  # of DOS there are few scripts left
    best = min(odd, key=odd.__getitem__, default=None)
    if best is None or (odd[best] > _MOST_ODD and odd[best] * foreign > _FEW):
        return None
    return content.decode(best), _NAMES.get(best, best.upper().replace("_", "-"))


def _foreign(content: bytes) -> float:
    """Share of bytes beyond ASCII."""
    return sum(byte > 127 for byte in content) / len(content)


def _decoded(content: bytes, evidence: bytes, encoding: str) -> str | None:
    """The evidence as text; None where the content is not of the encoding, or has controls that no script has."""
    try:
        content.decode(encoding)
        text = evidence.decode(encoding)
    except UnicodeDecodeError:
        return None
    return None if any("\x80" <= letter <= "\x9f" for letter in text) else text


def _evidence(content: bytes) -> bytes:
    """The lines that are not ASCII: a detector that samples a long script sees too few of them."""
    kept, size = [], 0
    for line in content.splitlines():
        if not line.isascii():
            kept.append(line[:_MOST_EVIDENCE])
            size += len(line) + 1
            if size > _MOST_EVIDENCE:
                break
    return b"\n".join(kept)


def _unexplained(text: str, encoding: str) -> float:
    """Least share, over the languages, of characters beyond ASCII that are out of their alphabet or their place."""
    padded = f"  {text} "
    at = [i for i, letter in enumerate(padded) if letter > "\x7f"]
    fixed = sum(_misplaced(padded[i - 2 : i], padded[i], padded[i + 1]) for i in at)
    letters = [padded[i].lower() for i in at if padded[i] not in _MARKS]
    counts = {letter: letters.count(letter) for letter in set(letters)}
    strange = min(
        sum(count for letter, count in counts.items() if letter not in alphabet) for alphabet in _sets(encoding)
    )
    return min(1.0, (fixed + strange) / max(1, len(at)))


@cache
def _sets(encoding: str) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(alphabet) for alphabet in _ALPHABETS[encoding].split())


def _mixed(text: str) -> float:
    """Share of letters beyond ASCII within Latin words, and of half-width kana: signs of another encoding."""
    at = [i for i, letter in enumerate(text) if letter > "\x7f"]
    wrong = sum("\uff61" <= text[i] <= "\uff9f" or _latin(text[i - 1 : i]) or _latin(text[i + 1 : i + 2]) for i in at)
    return wrong / max(1, len(at))


def _misplaced(two_before: str, letter: str, after: str) -> bool:
    """A capital in a word of small letters or the reverse, a letter in a word of another script, a mark in a word."""
    before = two_before[-1]
    if letter.isalpha() and letter > "\u024f" and (_latin(before) or _latin(after)):
        return True
    if letter.isupper():
        return before.islower() or (letter in _ALONE and not before.isalpha() and not after.isalpha())
    if letter in "–¿¡«“":
        return before.isalpha() and (after.isalpha() or letter != "–")
    if letter in "½¼¾":  # œ, Œ and Ÿ of ISO 8859-15
        return before.isalpha() or after.isalpha()
    if letter in "”»…":
        return after.isalpha() and not before.isalpha()
    return letter.islower() and (after.isupper() or (two_before.isalpha() and two_before.isupper()))


def _latin(letter: str) -> bool:
    return letter.isascii() and letter.isalpha()

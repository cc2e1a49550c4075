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
_TURKISH = "çğıöşüâîû"
_BALTIC = "ąčęėįšųūžāēģīķļņõäöü"
# Encodings in order of preference, and the alphabets (one a language) of what is written in each.
_ALPHABETS = {
    "cp1252": _WESTERN,
    "mac_roman": _WESTERN,
    "iso8859_15": _WESTERN,
    "cp1250": _CENTRAL,
    "iso8859_2": _CENTRAL,
    "cp1251": _CYRILLIC,
    "cp1254": _TURKISH,
    "cp1253": _GREEK,
    "iso8859_7": _GREEK,
    "cp1257": _BALTIC,
    "koi8_r": _CYRILLIC,
    "cp866": _CYRILLIC,
    "iso8859_5": _CYRILLIC,
    "mac_cyrillic": _CYRILLIC,
    "cp850": _WESTERN,
}
_EAST_ASIAN = ("shift_jis", "euc_jp", "gb18030", "big5", "euc_kr")
_NAMES = {"cp1252": "Windows-1252", "mac_roman": "Mac Roman", "cp1250": "Windows-1250", "cp1251": "Windows-1251"}
_MARKS = frozenset("‘’‚‛“”„«»‹›–—…¿¡·•°ºª§©®™€£½¼¾×´№″′\u00a0\u00ad\u2009\u202f")
_MOST_ODD = 0.25  # share of the characters beyond ASCII that a candidate may leave unexplained
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
    found = from_bytes(evidence, cp_isolation=[*_ALPHABETS, *_EAST_ASIAN], enable_fallback=False)
    listed = {match.encoding: float(match.chaos) for match in found}
    odd: dict[str, float] = {}
    for encoding in [*_ALPHABETS, *(name for name in _EAST_ASIAN if name in listed)]:
        try:
            content.decode(encoding)
            text = evidence.decode(encoding)
        except UnicodeDecodeError:
            continue
        odd[encoding] = _unexplained(text, encoding) if encoding in _ALPHABETS else listed[encoding] + _half_width(text)
    best = min(odd, key=odd.__getitem__, default=None)
    if best is None or odd[best] > _MOST_ODD:
        return None
    return content.decode(best), _NAMES.get(best, best.upper().replace("_", "-"))


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
    padded = f" {text} "
    at = [i for i, letter in enumerate(padded) if letter > "\x7f"]
    fixed = sum(_misplaced(padded[i - 1], padded[i], padded[i + 1]) for i in at)
    letters = [padded[i].lower() for i in at if padded[i] not in _MARKS]
    counts = {letter: letters.count(letter) for letter in set(letters)}
    strange = min(
        sum(count for letter, count in counts.items() if letter not in alphabet) for alphabet in _sets(encoding)
    )
    return min(1.0, (fixed + strange) / max(1, len(at)))


@cache
def _sets(encoding: str) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(alphabet) for alphabet in _ALPHABETS[encoding].split())


def _half_width(text: str) -> float:
    """Share of half-width kana, which a text in another East Asian encoding is full of when it is read as Japanese."""
    beyond = [letter for letter in text if letter > "\x7f"]
    return sum("\uff61" <= letter <= "\uff9f" for letter in beyond) / max(1, len(beyond))


def _misplaced(before: str, letter: str, after: str) -> bool:
    """A capital in a word of small letters or the reverse, a letter in a word of another script, a mark in a word."""
    if letter.isalpha() and letter > "\u024f" and (_latin(before) or _latin(after)):
        return True
    if letter.isupper():
        return before.islower() or (letter == "Ê" and not before.isalpha() and not after.isalpha())
    if letter in "–¿¡«“":
        return before.isalpha() and (after.isalpha() or letter != "–")
    if letter in "”»…":
        return after.isalpha() and not before.isalpha()
    return letter.islower() and after.isupper()


def _latin(letter: str) -> bool:
    return letter.isascii() and letter.isalpha()

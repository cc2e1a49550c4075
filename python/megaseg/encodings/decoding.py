"""From a file's bytes to its text: byte order marks, UTF-8 and UTF-16, else what ``code_pages`` finds.

No character is replaced in silence: what no encoding explains is an error that names the byte.
"""

from __future__ import annotations

import codecs
import re

from megaseg.encodings.code_pages import guess
from megaseg.errors import FeatureError

# UTF-32 before UTF-16, whose mark its own begins with.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WIDE = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
_CONTROLS = frozenset(map(chr, range(32))) - set("\t\n\v\f\r\x1a\x1b\x1c\x1d\x1e")
_LOST = "\ufffd"
_TWICE = ("â€™", "â€œ", "â€”", "â€“", "â€¦", "Ã©", "Ã¨", "Ã¡", "Ã±", "Ã¼", "Ã¶", "Ã¤")  # UTF-8 read as Windows-1252
_SURROGATE = re.compile("[\ud800-\udfff]")
_SAMPLE = 1 << 16  # bytes
_MOST_CONTROLS = 0.05  # share of a text's characters; texts taken from PDFs have a few


def decode(content: bytes | str, where: str, expected: str, *, damaged: bool = False) -> tuple[str, list[str]]:
    """(text, remarks on how it was read) of a file's bytes, or of text that is checked only.

    ``where`` stands for the file in messages, ``expected`` says what it should be, such as ``subtitles``.
    ``damaged`` takes text that is UTF-8 but for a few bytes, each of which is a U+FFFD then and counted in a remark.

    Raises:
        FeatureError: binary data, or bytes that no encoding explains; names the file and the byte.
        UnsupportedError: neither UTF-8 nor UTF-16, and the extra ``text`` is not installed.
    """
    remarks: list[str] = []
    text = content.removeprefix("\ufeff") if isinstance(content, str) else _unicode(content, where, expected, damaged)
    if text is None and isinstance(content, bytes):
        found = guess(content, where)
        if found is None:
            raise FeatureError(
                f"{where}: expected text, got bytes of no known encoding {_at(content)}; save it as UTF-8"
            )
        text, encoding = found
        remarks.append(f"read as {encoding}; save it as UTF-8 if names or accents look wrong")
    if text is not None and _SURROGATE.search(text):
        raise FeatureError(f"{where}: expected text, got half of a surrogate pair")
    if text is None or "\0" in text or sum(map(text.count, _CONTROLS)) > _MOST_CONTROLS * len(text):
        raise FeatureError(f"{where}: expected {expected}, got binary data")
    if lost := text.count(_LOST):
        remarks.append(f"{lost} characters were lost before megaseg read the file (U+FFFD); export it again")
    if twice := sum(map(text.count, _TWICE)):
        remarks.append(f"{twice} characters were encoded twice, such as â€™ for ’; export it again")
    return text.rstrip("\x1a"), remarks


def _unicode(content: bytes, where: str, expected: str, damaged: bool) -> str | None:
    """The text where it is of Unicode, marked or not; None where it is of 8 bits."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return _strict(content[len(mark) :], encoding, where, len(mark))
    if b"\0" in content:
        for encoding in _WIDE:
            if text := _unmarked(content, encoding):
                return text
        raise FeatureError(f"{where}: expected {expected}, got binary data")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        if _nearly_utf8(content):
            if damaged:
                return content.decode("utf-8", errors="replace")
            raise FeatureError(
                f"{where}: expected text in UTF-8, got byte 0x{content[error.start]:02X} at offset {error.start} in "
                "text that is UTF-8 elsewhere; save it again as UTF-8"
            ) from error
        return None


def _strict(content: bytes, encoding: str, where: str, skipped: int) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise FeatureError(
            f"{where}: expected {encoding.upper()}, as its byte order mark says, got {error.reason} at offset "
            f"{skipped + error.start}"
        ) from error


def _unmarked(content: bytes, encoding: str) -> str | None:
    """Text in UTF-16 or UTF-32 without a mark: words with spaces or lines between them, and no zeros left."""
    others = [byte for byte in content[:_SAMPLE] if byte]
    ascii_share = sum(31 < byte < 127 or byte in b"\t\n\r" for byte in others) / max(1, len(others))
    if content[:_SAMPLE].count(0) * 4 < len(content[:_SAMPLE]) and ascii_share > 0.85:
        return None  # a text of 8 bits with zeros in it
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        return None
    parting = sum(map(text.count, " \n\r"))
    return text if parting * 40 >= len(text) and not any(control in text for control in _CONTROLS) else None


def _nearly_utf8(content: bytes) -> bool:
    """Whether most of the bytes beyond ASCII are whole characters of UTF-8: damage, not another encoding."""
    whole = sum(character > "\x7f" for character in content.decode("utf-8", errors="ignore"))
    broken = content.decode("utf-8", errors="replace").count(_LOST) - content.count(_LOST.encode())
    return whole >= broken


def _at(content: bytes) -> str:
    offset = next(i for i, byte in enumerate(content) if byte > 127)
    return f"(the first is 0x{content[offset]:02X} at offset {offset})"

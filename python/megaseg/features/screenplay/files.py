"""From a file, or its content, to screenplays: which reader a kind of file has, and what is refused."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from megaseg.encodings.decoding import decode
from megaseg.errors import FeatureError
from megaseg.features.screenplay.final_draft import parse_final_draft
from megaseg.features.screenplay.kinds import kind_of, known_kind
from megaseg.features.screenplay.pack import parse_pack, read_pack
from megaseg.features.screenplay.pdf import parse_pdf
from megaseg.features.screenplay.screenplay import Screenplay, from_parsed
from megaseg.features.screenplay.script.remarks import remarks as remarks_on
from megaseg.features.screenplay.script_text import Parsed, parse_script
from megaseg.features.screenplay.signatures import binary_signature, is_final_draft, is_pack, text_form

MOST_BYTES = 1 << 26  # of one screenplay's file
_PDF = b"%PDF-"
_GZIP = b"\x1f\x8b"
_EXPECTED = "expected a screenplay: Fountain or plain text, Final Draft (.fdx), PDF or JSONL"
_TEXT = "a text screenplay (Fountain or plain)"
_EXPORT = "export it from the program that wrote it as Fountain, FDX or plain text"


def read_screenplays(path: str | os.PathLike[str], kind: str | None = None) -> Iterator[Screenplay]:
    """Screenplays of one file: JSONL files hold many, any other file is one.

    ``kind`` is one of ``kinds.KINDS``; None takes what the file's name says, then what its content does.

    Raises:
        FeatureError: unreadable, empty or malformed input, or a file that is no screenplay; names the file.
        UnsupportedError: a missing extra.
    """
    path = Path(path)
    kind = kind_of(path) if kind is None else known_kind(kind)
    if kind == "jsonl":
        yield from read_pack(path)
        return
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise FeatureError(f"{path}: expected a readable screenplay, got {error.strerror}") from error
    # A .txt may be any kind of screenplay.
    yield from parse_screenplays(content, path.stem, str(path), kind if kind in ("fdx", "pdf") else None)


def parse_screenplay(content: bytes | str, name: str, where: str | None = None, kind: str | None = None) -> Screenplay:
    """One screenplay from its file's content; its headings say where scenes begin.

    ``where`` stands for the screenplay in messages; None takes its name. ``kind`` is one of ``kinds.KINDS``; None
    takes what the content is: PDF, Final Draft's XML, a line of JSONL, else Fountain or plain text.

    Raises:
        FeatureError, UnsupportedError: as ``read_screenplays``; FeatureError: a JSONL file of several.
    """
    found = list(parse_screenplays(content, name, where, kind))
    if len(found) != 1:
        raise FeatureError(f"{name if where is None else where}: expected one screenplay, got {len(found)}")
    return found[0]


def parse_screenplays(
    content: bytes | str, name: str, where: str | None = None, kind: str | None = None
) -> Iterator[Screenplay]:
    """``parse_screenplay`` for content that may be a JSONL file of several, whose names are their own.

    Raises:
        FeatureError, UnsupportedError: as ``read_screenplays``.
    """
    where = name if where is None else where
    kind = None if kind is None else known_kind(kind)
    if len(content) > MOST_BYTES:
        raise FeatureError(f"{where}: expected a screenplay of up to {MOST_BYTES >> 20} MiB, got more")
    if isinstance(content, bytes):
        if kind in ("jsonl", "pdf") or (kind is None and content.startswith((_PDF, _GZIP))):
            yield from _from_bytes(content, name, where, kind)
            return
        if what := _refused_bytes(content, kind):
            raise FeatureError(f"{where}: {_EXPECTED}; got {what}: {_EXPORT}")
    text, remarks = _decode(content, where)
    if kind == "jsonl" or (kind is None and is_pack(text)):
        yield from parse_pack(text.encode("utf-8", errors="surrogatepass"), where)
    else:
        yield _from_text(text, name, where, kind, remarks)


def _from_bytes(content: bytes, name: str, where: str, kind: str | None) -> Iterator[Screenplay]:
    if kind == "jsonl" or (kind is None and content.startswith(_GZIP)):
        yield from parse_pack(content, where)
        return
    if _PDF not in content[:1024]:
        raise FeatureError(f"{where}: expected a PDF, got {binary_signature(content) or 'other data'}")
    parsed, remarks = parse_pdf(content, where)
    yield _screenplay(parsed, name, where, remarks)


def _refused_bytes(content: bytes, kind: str | None) -> str | None:
    """What bytes that must be text are instead; None where they may be text."""
    return f"a PDF where {kind} was expected" if content.startswith(_PDF) else binary_signature(content)


def _decode(content: bytes | str, where: str) -> tuple[str, list[str]]:
    """``decode`` where an XML declaration may name the encoding, which UTF-8 and byte order marks overrule."""
    if isinstance(content, str):
        return decode(content, where, _TEXT)
    declared = re.match(rb"\s*<\?xml[^>]{0,80}encoding=[\"']([\w.-]{1,40})[\"']", content)
    if declared and not content.isascii():
        try:
            content.decode("utf-8")
        except UnicodeDecodeError:
            name = declared[1].decode().lower()
            if re.fullmatch(r"(?:iso-?8859|windows|cp|mac|x-mac|koi8|shift_jis|euc|gb|big5)[\w.-]*|macintosh", name):
                try:
                    return content.decode(name.removeprefix("x-")), []
                except (UnicodeDecodeError, LookupError):
                    pass
    return decode(content, where, _TEXT)


def _from_text(text: str, name: str, where: str, kind: str | None, remarks: list[str]) -> Screenplay:
    if kind == "fdx" or (kind is None and is_final_draft(text)):
        if text.strip() and not text.lstrip().startswith("<"):
            raise FeatureError(f"{where}: expected Final Draft's XML (.fdx), got {text_form(text) or 'text'}")
        return _screenplay(parse_final_draft(text, where), name, where, remarks)
    if what := text_form(text):
        raise FeatureError(f"{where}: {_EXPECTED}; got {what}: {_EXPORT}")
    return _screenplay(parse_script(text), name, where, remarks)


def _screenplay(parsed: Parsed, name: str, where: str, remarks: list[str]) -> Screenplay:
    """A screenplay of parsed blocks, whatever its file is, with remarks on the file and on the blocks."""
    return from_parsed(parsed, name, where, [*remarks, *remarks_on(parsed)])

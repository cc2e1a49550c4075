"""What a file is that is no screenplay: its bytes' signature, or the form of its text."""

from __future__ import annotations

import json
import re
from pathlib import Path

_SIGNATURES = (
    (b"{\\rtf", "RTF (rich text)"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Word document (.doc)"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"BM", "a BMP image"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"\0\0\x01\xba", "an MPEG video"),
    (b"OggS", "an Ogg file"),
    *((b"ID3" + version, "an MP3 file") for version in (b"\2", b"\3", b"\4")),
    (b"fLaC", "a FLAC file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!\x1a", "a RAR archive"),
    (b"\x7fELF", "a program"),
    (b"bplist00", "a property list"),
    (b"SQLite format 3\0", "an SQLite database (KIT Scenarist and others keep scripts in one)"),
    (b"%!PS", "PostScript"),
    (b"\x93NUMPY", "a NumPy array"),
)
_IN_ZIP = (
    (b"word/", "a Word document (.docx)"),
    (b"opendocument.text", "an OpenDocument text (.odt)"),
    (b".npy", "a NumPy archive (.npz)"),
    (b"epub", "an e-book (.epub)"),
)
_HTML = re.compile(
    r"<(?:!doctype\s+html|html|head|body|table|div|span|pre|p|br|h[1-6]|script|meta|font|center)\b[^>]*>", re.I
)
_CODE = re.compile(
    r"#!\s*/|<\?php\b|#\s*include\s*[<\"]|diff -{2}git |-{5}BEGIN |%YAML|\\documentclass"
    r"|(?:import|package) [\w.]+;?\s*$|(?:from [\w.]+ )?import [\w., ]+$|(?:def|class) \w+[(:].*:\s*$"
    r"|(?:const|let|var) \w+ = "
)
_CUE_TIME = re.compile(r"\d{1,2}:\d\d(?::\d\d)?[.,]\d{3} --> ")


def binary_signature(content: bytes) -> str | None:
    """What bytes that are no text seem to be; None where no signature is known."""
    head = content.lstrip()[:16] if content[:1].isspace() else content[:16]
    if content.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        start = content[:4096]
        return next((what for mark, what in _IN_ZIP if mark in start), "a zip archive")
    if content[4:8] == b"ftyp":
        return "an MP4 or QuickTime file"
    if head.startswith(b"RIFF") and content[8:12] in (b"AVI ", b"WAVE", b"WEBP"):
        return {b"AVI ": "an AVI video", b"WAVE": "a WAV file"}.get(content[8:12], "a WebP image")
    if head.startswith(b"BM") and b"\0" not in content[:64]:
        return None  # a text may begin so
    return next((what for mark, what in _SIGNATURES if head.startswith(mark)), None)


def seems_to_be(path: Path) -> str | None:
    """What a file's first bytes say that it is, where that is no screenplay; None where they do not."""
    try:
        with path.open("rb") as file:
            start = file.read(1 << 16)
    except OSError:
        return None
    binary = "binary data" if b"\0" in start else None
    return binary_signature(start) or binary or text_form(start.decode("utf-8", errors="replace"))


def text_form(text: str) -> str | None:
    """What a text is that is surely no screenplay; None where it may be one."""
    start = text[:2000].lstrip()
    if start.startswith(("{\\rtf", "{\\urtf")):
        return "RTF (rich text)"
    if _HTML.match(start):
        return "HTML"
    if re.match(r"<(?:\?xml|!DOCTYPE|!ENTITY)", start) or (start.startswith("<") and text.rstrip().endswith(">")):
        root = re.match(r"(?:<[?!][^>]*>|\s)*<([A-Za-z_][\w:.-]*)[\s/>]", start)
        return f"XML (<{root[1]:.40}>)" if root else "XML"
    if start.startswith(("{", "[")) and _is_json(text):
        return "JSON"
    if start.startswith(("WEBVTT", "[Script Info]")) or _CUE_TIME.match(re.sub(r"\A\d+\s*\n", "", start)):
        return "subtitles"
    if re.match(r"MIME-Version: \d", start):
        return "an e-mail or web archive"
    if re.match(r"#Version \d+\s*#Begin-", start):
        return "a Trelby script"
    if _CODE.match(start.partition("\n")[0]):
        return "source code"
    return "a table (CSV)" if _is_table(text) else None


def is_final_draft(text: str) -> bool:
    """Whether a text is XML with an element of Final Draft near its beginning."""
    start = text[:20_000].lstrip()
    if not re.match(r"<(?:\?xml\b|!DOCTYPE\b|!--|(?:\w+:)?FinalDraft\b)", start):
        return False
    return re.search(r"<(?:\w+:)?FinalDraft\b", start) is not None


def is_pack(text: str) -> bool:
    """Whether the first line of a text is a screenplay of a JSONL file."""
    first = text.lstrip()[:4000].partition("\n")[0]
    return first.startswith("{") and '"blocks"' in first


def _is_json(text: str) -> bool:
    if re.match(r'[{\[]\s*(?:[{\[]\s*)*("(?:[^"\\]|\\.){0,200}"\s*:|[}\]]\s*$)', text.lstrip()[:600]):
        return True
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _is_table(text: str) -> bool:
    """Whether every one of at least four lines has the same number, two or more, of one separator, unlike prose."""
    lines = [line for line in text[:20_000].splitlines()[: -1 if len(text) > 20_000 else None] if line.strip()]
    for separator in ",;\t|":
        counts = {line.count(separator) for line in lines}
        if len(lines) >= 4 and len(counts) == 1 and counts.pop() >= 2:
            return not any(line.startswith("\t") or f"{separator} " in line for line in lines)
    return False

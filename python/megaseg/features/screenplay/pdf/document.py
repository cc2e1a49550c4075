"""The PDF file itself, read by pypdf within limits: every way it can be broken is one error."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from megaseg.errors import FeatureError, MegasegError, UnsupportedError
from megaseg.features.screenplay.pdf.columns import paragraphs
from megaseg.features.screenplay.pdf.gaps import split_at_gaps
from megaseg.features.screenplay.pdf.lines import Piece, lines_of
from megaseg.features.screenplay.script_text import Parsed, parse_script
from megaseg.features.screenplay.typed_paragraphs import assemble

MOST_PAGES = 1000
_MOST_SECONDS = 60.0  # of one file, asked between its pages; a script of 120 pages takes 1
_MOST_STREAM = 4_000_000  # bytes of a stream, unpacked; a page of text has 10,000
_MOST_OPERANDS = 100_000  # of a page; a page set letter by letter has 30,000
_MOST_LINES = 200  # a page, on average; a page of 12 points has 60
_MOST_UNREADABLE = 0.2  # share of characters that their fonts do not name
_FARTHEST = 1e5  # points; what is farther off is on no page
_LIGATURES = str.maketrans({"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "\u00ad": "-", "\u00a0": " "})


def parse_pdf(content: bytes, where: str) -> tuple[Parsed, list[str]]:
    """(scene number, speaker or "", words) of each block of a script, and remarks; ``where`` stands for it in messages.

    Raises:
        FeatureError: a broken, encrypted or scanned file, or one beyond the limits.
        UnsupportedError: the extra ``pdf`` is not installed.
    """
    try:
        import pypdf
    except ImportError as error:
        raise UnsupportedError(f"{where}: PDF files need {error.name}: pip install 'megaseg[pdf]'") from error
    limits: dict[str, Any] = {
        "zlib_maximum_output_length": _MOST_STREAM,
        "lzw_maximum_output_length": _MOST_STREAM,
        "run_length_maximum_output_length": _MOST_STREAM,
        "array_based_stream_maximum_output_length": _MOST_STREAM,
        "stream_decoding_work_maximum_length": 4 * _MOST_STREAM,
        "stream_parsing_work_maximum_count": _MOST_OPERANDS,
        "page_tree_maximum_entries": 10 * MOST_PAGES,
        "xform_maximum_invocations_per_extraction": 100,
    }
    try:
        with _silent(), pypdf.apply_configuration(**limits):
            pages = list(_pages(pypdf.PdfReader(io.BytesIO(content)), where))
    except MegasegError:
        raise
    except Exception as error:  # pypdf raises whatever Python raises where a file is broken
        told = str(error) or type(error).__name__
        raise FeatureError(
            f"{where}: expected a readable PDF, got {told:.200}; print it to a new PDF, or use FDX"
        ) from error
    return _blocks(pages, where)


def _pages(reader: Any, where: str) -> Iterator[list[Piece]]:
    if reader.is_encrypted and not _opened(reader):
        raise FeatureError(f"{where}: expected a PDF without password, got an encrypted one; save a copy without it")
    count = len(reader.pages)
    if count > MOST_PAGES:
        raise FeatureError(f"{where}: expected a PDF of up to {MOST_PAGES} pages, got {count}")
    end = time.monotonic() + _MOST_SECONDS
    for number, page in enumerate(reader.pages, 1):
        if time.monotonic() > end:
            raise FeatureError(f"{where}: expected pages of text, got {number - 1} of {count} in {_MOST_SECONDS:g} s")
        yield _pieces(page)


def _opened(reader: Any) -> bool:
    """Whether an encrypted file opens without a password, as those do that only forbid printing."""
    try:
        return bool(reader.decrypt(""))
    except Exception:  # noqa: BLE001 (a cipher that pypdf has not, or whatever Python raises for a broken one)
        return False


def _pieces(page: Any) -> list[Piece]:
    """Runs of text with the place of their first letter, points from the lower left corner."""
    found: list[Piece] = []
    left, bottom = float(page.mediabox.left), float(page.mediabox.bottom)

    def take(text: str, cm: list[float], tm: list[float], font: Any, size: float) -> None:
        x = tm[4] * cm[0] + tm[5] * cm[2] + cm[4] - left
        y = tm[4] * cm[1] + tm[5] * cm[3] + cm[5] - bottom
        scale = abs(tm[3] * cm[3]) or abs(tm[0] * cm[0]) or 1.0
        words = text.translate(_LIGATURES).strip()
        if words and max(abs(x), abs(y), abs(size) * scale) < _FARTHEST:
            found.append(Piece(x, y, abs(size) * scale, words, float(page.mediabox.height)))

    split_at_gaps(page)
    page.extract_text(orientations=(0,), visitor_text=take)
    return found


def _blocks(pages: list[list[Piece]], where: str) -> tuple[Parsed, list[str]]:
    told = "".join(piece.words for page in pages for piece in page)
    if not told:
        raise FeatureError(
            f"{where}: expected a PDF with text, got {len(pages)} pages without: a scan? Run OCR on it, or use FDX"
        )
    unreadable = sum(not letter.isprintable() or letter == "\ufffd" for letter in told)  # no private letter prints
    if unreadable > _MOST_UNREADABLE * len(told):
        raise FeatureError(f"{where}: expected a PDF whose fonts name their letters, got {unreadable} unnamed; use FDX")
    empty = sum(not page for page in pages)
    remarks = [f"{empty} of {len(pages)} pages have no text: scanned pages?"] if 2 * empty > len(pages) else []
    lines = lines_of(pages)
    if len(lines) > _MOST_LINES * len(pages):
        raise FeatureError(f"{where}: expected pages of a script, got {len(lines)} lines on {len(pages)} pages")
    by_column = paragraphs(lines)
    if by_column is not None:
        return assemble(by_column), remarks
    remarks.append("no columns of dialogue found; read as plain text")
    text = "\n".join(("\n" if line.parted else "") + line.words for line in lines)
    return parse_script(text), remarks


@contextmanager
def _silent() -> Iterator[None]:
    """pypdf logs what it repairs; the user hears of what matters as an error or a remark."""
    logger = logging.getLogger("pypdf")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)

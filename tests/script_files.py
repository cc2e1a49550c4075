"""Small screenplay files: FDX of typed paragraphs, and PDF pages of text at given places."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

Run = tuple[float, float, str]  # x and y of the first letter in points from the lower left corner, words
COURIER = b"<< /Type /Font /Subtype /Type1 /BaseFont /Courier /Encoding /WinAnsiEncoding >>"


def fdx(*paragraphs: tuple[str, str], more: str = "", head: str = '<?xml version="1.0" encoding="UTF-8"?>\n') -> str:
    """A Final Draft script of (type, words); ``more`` follows its content."""
    body = "".join(
        f"<Paragraph Type={quoteattr(kind)}><Text>{escape(words)}</Text></Paragraph>\n" for kind, words in paragraphs
    )
    root = '<FinalDraft DocumentType="Script" Template="No" Version="5">'
    return f"{head}{root}<Content>{body}</Content>{more}</FinalDraft>"


def pdf(*pages: Sequence[Run], one_object: bool = False) -> bytes:
    """A PDF of letter pages in Courier of 12 points; with ``one_object`` a page is one text object."""
    return pdf_of([content(page, one_object) for page in pages])


def content(page: Sequence[Run], one_object: bool = False) -> bytes:
    """The content stream of a page."""
    shown = [f"1 0 0 1 {x} {y} Tm ({_string(words)}) Tj" for x, y, words in page]
    objects = [" ".join(shown)] if one_object else shown
    return "\n".join(f"BT /F1 12 Tf {text} ET" for text in objects).encode("cp1252")


def pdf_of(streams: Sequence[bytes], trailer: bytes = b"") -> bytes:
    """A PDF whose pages have these content streams; ``trailer`` joins the trailer's entries."""
    kids = b" ".join(b"%d 0 R" % (4 + 2 * i) for i in range(len(streams)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Count %d /Kids [%s] >>" % (len(streams), kids),
        COURIER,
    ]
    for i, stream in enumerate(streams):
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> >> >>" % (5 + 2 * i)
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    end = b"trailer\n<< /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, trailer, len(out))
    return out + b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + table + end


def _string(words: str) -> str:
    return words.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")

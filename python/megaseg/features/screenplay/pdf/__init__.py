"""PDF screenplays: pages to lines with their place, lines to paragraphs by their column."""

from megaseg.features.screenplay.pdf.document import parse_pdf

__all__ = ["parse_pdf"]

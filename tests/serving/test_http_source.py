"""Bodies of POST /v1/segment: which reader they get, by content type or by their first bytes."""

from __future__ import annotations

import gzip
import io
from typing import Any

import numpy as np
import pytest
from screenplays import SCRIPT

from megaseg.errors import FeatureError, ResourceLimitError
from megaseg.features import Screenplay, parse_screenplay
from megaseg.serving import http_source
from megaseg.serving.errors import RequestError
from megaseg.serving.http_source import read_source

FDX = (
    '<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n<FinalDraft DocumentType="Script"><Content>'
    '<Paragraph Type="Scene Heading"><Text>INT. ROOM - DAY</Text></Paragraph>'
    '<Paragraph Type="Action"><Text>It is late.</Text></Paragraph></Content></FinalDraft>'
)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the reader of screenplays is given."""
    seen: list[Any] = []

    def parse(content: Any, name: str, kind: str) -> Screenplay:
        seen.append(content)
        return parse_screenplay(SCRIPT, name)

    monkeypatch.setattr(http_source, "parse_screenplay", parse)
    return seen


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("text/plain", SCRIPT.encode()),
        ("TEXT/Plain ; format=flowed", SCRIPT.encode()),
        ("text/x-fountain", SCRIPT.encode()),
        ("text/markdown", SCRIPT.encode()),
        ("application/xml", FDX.encode()),
        ("text/xml; charset=utf-8", FDX.encode()),  # XML says its encoding itself
        ("application/vnd.finaldraft.fdx", FDX.encode()),
        ("application/x-finaldraft", FDX.encode()),
        ("application/octet-stream", FDX.encode()),
        ("", b"\xef\xbb\xbf\n" + FDX.encode()),
        ("application/x-www-form-urlencoded", FDX.encode("utf-16")),
        ("", b"<FinalDraft/>"),
        ("text/plain", FDX.encode()),
        ("application/pdf", b"no pdf"),
        ("application/octet-stream", b"%PDF-1.7 ..."),
    ],
)
def test_a_screenplay_is_known_by_its_type_or_its_content(parsed: list[Any], kind: str, content: bytes) -> None:
    assert isinstance(read_source(content, kind, 1 << 20), Screenplay)
    assert parsed == [content]


@pytest.mark.parametrize(
    ("charset", "encoding"),
    [
        ("utf-8", "utf-8-sig"),
        ("UTF-8", "utf-8"),
        ('"utf-16"', "utf-16"),
        ("windows-1252", "cp1252"),
        ("Shift_JIS", "sjis"),
    ],
)
def test_text_is_read_in_its_charset(parsed: list[Any], charset: str, encoding: str) -> None:
    text = SCRIPT if encoding == "sjis" else SCRIPT.replace("Not", "«Né»")
    read_source(text.encode(encoding), f"text/plain;charset={charset}", 1 << 20)
    assert parsed == [text]


@pytest.mark.parametrize(
    ("charset", "content", "message"),
    [
        ("utf-8", "café".encode("latin-1"), "can't decode byte 0xe9"),
        ("ascii", "café".encode(), "can't decode byte 0xc3"),
        ("klingon", b"a", "unknown encoding: klingon"),
        ("", b"a", "unknown encoding"),
        ("punycode", b"a", "unknown encoding: punycode"),
        ("zlib", b"a", "unknown encoding: zlib"),
        ("utf-7", b"a", "unknown encoding: utf-7"),
    ],
)
def test_text_of_another_charset_is_refused(charset: str, content: bytes, message: str) -> None:
    with pytest.raises(RequestError, match="body: expected text in the charset of its Content-Type, got") as error:
        read_source(content, f"text/plain; charset={charset}", 1 << 20)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"%PDF-1.7 ...", "a PDF where text was expected"),
        (gzip.compress(b'{"name": "m", "blocks": [["a", "", "Rain.", 0]]}', mtime=0), "a gzip archive"),
        (b'{"name": "m", "blocks": [["a", "", "Rain.", 0]]}', "JSON"),
    ],
)
def test_text_is_neither_a_pdf_nor_a_file_of_many(content: bytes, what: str) -> None:
    with pytest.raises(FeatureError, match=f"^body: expected a screenplay.* got {what}"):
        read_source(content, "text/plain", 1 << 20)


def test_the_rest_are_feature_files(parsed: list[Any]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, clip=np.ones((3, 2), np.float32))
    for kind in ("application/octet-stream", "", "application/zip", "application/json"):
        assert read_source(buffer.getvalue(), kind, 1 << 20).num_shots == 3
    with pytest.raises(FeatureError, match="a screenplay comes with Content-Type: text/plain"):
        read_source(SCRIPT.encode(), "", 1 << 20)
    assert parsed == []


def test_a_screenplay_is_bounded_before_it_is_read(parsed: list[Any]) -> None:
    for kind, content, message in (
        ("text/plain", b"a\n" * (3 << 20), "up to 4194304 bytes"),
        ("text/plain", b"a" * 10_001, "lines of up to 10000 bytes"),
        ("application/xml", b"<" * ((16 << 20) + 1), "up to 16777216 bytes"),
        ("", b"%PDF-" + bytes(16 << 20), "up to 16777216 bytes"),
    ):
        with pytest.raises(ResourceLimitError, match=message):
            read_source(content, kind, 1 << 30)
    assert parsed == []
    read_source(b"<?xml" + b"a" * 100_000, "", 1 << 30)  # XML is often one line
    assert len(parsed) == 1


@pytest.mark.parametrize("kind", ["application/vnd.finaldraft.fdx", "text/plain; charset=utf-8", ""])
def test_final_draft_is_read(kind: str) -> None:
    play = read_source(FDX.encode(), kind, 1 << 20)
    assert isinstance(play, Screenplay)
    assert [block.text for block in play.blocks] == ["It is late."]


def test_what_is_no_screenplay_is_refused_by_name() -> None:
    for kind, content, message in (
        ("application/xml", b"{}", "body: expected Final Draft's XML"),
        ("application/pdf", b"INT. A", "body: expected a PDF"),
        ("text/html", b"<html><body>INT. A</body></html>", "body: expected a screenplay"),
        ("text/rtf", b"{\\rtf1 INT. A}", "body: expected a screenplay"),
    ):
        with pytest.raises(FeatureError, match=message):
            read_source(content, kind, 1 << 20)

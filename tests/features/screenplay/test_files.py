"""Which kind a file is: suffixes in any case, content without a name, and what is refused by name."""

from __future__ import annotations

import gzip
import json
import os
import threading
from pathlib import Path

import pytest
from script_files import fdx, pdf

from megaseg.errors import FeatureError
from megaseg.features import parse_screenplay, parse_screenplays, read_screenplays
from megaseg.features.screenplay.kinds import IN_FOLDERS, KINDS, kind_of
from megaseg.pipelines import find_sources

SCRIPT = "INT. KITCHEN - DAY\n\nAnna waits.\n\nANNA\nNot today.\n"
ROW = json.dumps({"name": "Lamp", "blocks": [["a", "", "Rain.", 0], ["d", "ANNA", "Yes.", 0]]})
PAGE = [(108.0, 700.0, "Anna waits."), (252.0, 676.0, "ANNA"), (180.0, 664.0, "Not today.")]
ZIP = b"PK\x03\x04" + bytes(26)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("a.FOUNTAIN", "fountain"), ("a.spmd", "fountain"), ("README.md", "fountain"), ("UPPER.TXT", "text")),
        *(("a.Fdx", "fdx"), ("a.PDF", "pdf"), ("a.jsonl", "jsonl"), ("A.JSONL.GZ", "jsonl"), ("a.gz", None)),
        *(("a", None), ("txt", None), ("a.rtf", None)),
    ],
)
def test_kinds_by_suffix(name: str, kind: str | None) -> None:
    assert kind_of(name) == kind


@pytest.mark.parametrize("name", ["a.FOUNTAIN", "a.SpMd", "a.md", "UPPER.TXT"])
def test_suffixes_of_any_case_are_segmented(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(SCRIPT)
    (play,) = find_sources(tmp_path / name)
    assert play.name == name.rpartition(".")[0]


def test_a_folder_is_searched_for_what_only_scripts_are_called(tmp_path: Path) -> None:
    for name in ("a.Fountain", "b.FDX", "c.spmd", "d.txt", "e.md"):
        (tmp_path / name).write_text(fdx(("Action", "Rain.")) if name == "b.FDX" else SCRIPT)
    (tmp_path / "f.pdf").write_bytes(pdf(PAGE))
    assert set(IN_FOLDERS) == {".fountain", ".spmd", ".fdx"}
    assert [play.name for play in find_sources(tmp_path)] == ["a", "b", "c"]
    assert [play.name for play in find_sources(tmp_path, "text")] == ["d"]


@pytest.mark.parametrize("name", ["a", "a.txt", "a.fountain", "a.dat"])
@pytest.mark.parametrize("form", ["fdx", "pdf", "text"])
def test_content_tells_what_a_text_suffix_does_not(tmp_path: Path, name: str, form: str) -> None:
    typed = fdx(("Action", "Anna waits."), ("Character", "ANNA"), ("Dialogue", "Not today."))
    content = {"fdx": typed.encode("utf-16"), "pdf": pdf(PAGE), "text": SCRIPT.encode()}[form]
    (tmp_path / name).write_bytes(content)
    (play,) = read_screenplays(tmp_path / name)
    assert [block.text for block in play.blocks] == ["Anna waits.", "Not today."]


@pytest.mark.parametrize("content", [ROW, "\ufeff" + ROW + "\n\n"])
@pytest.mark.parametrize("kind", [None, "jsonl"])
def test_a_pack_by_content(content: str, kind: str | None) -> None:
    for form in (content, content.encode(), gzip.compress(content.encode())):
        assert parse_screenplay(form, "x", kind=kind).name == "Lamp"
    with pytest.raises(FeatureError, match="x: expected one screenplay, got 2"):
        parse_screenplay(f"{ROW}\n{ROW}", "x", kind=kind)
    assert [play.name for play in parse_screenplays(f"{ROW}\n{ROW}", "x", kind=kind)] == ["Lamp", "Lamp"]


def test_a_pipe_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for content, kind in ((ROW.encode(), "jsonl"), (gzip.compress(ROW.encode()), "jsonl"), (SCRIPT.encode(), None)):
        writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(content,))
        writer.start()
        assert len(list(read_screenplays(tmp_path / "pipe", kind))) == 1
        writer.join()


REFUSED = {
    "RTF": b"{\\rtf1\\ansi\\deff0\n\\f0\\fs24 INT. KITCHEN - DAY\\par\n}",
    "HTML": b"\n<!DOCTYPE html>\n<html><body><pre>INT. KITCHEN</pre></body></html>",
    "HTML ": b"<html><body><pre><b>INT. KITCHEN - DAY\n</b>\n   Anna waits.\n</pre></body></html>",
    "JSON": b'{"a": 1}',
    "JSON ": b'[{"scene": "INT. A"}]',
    "XML": b'<?xml version="1.0"?>\n<document><page/></document>',
    "OpenDocument": ZIP + b"mimetypeapplication/vnd.oasis.opendocument.text",
    "Word document": ZIP + b"word/document.xml",
    "zip": ZIP + b"document.xml",
    "old Word": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(40),
    "PNG": b"\x89PNG\r\n\x1a\n" + bytes(40),
    "JPEG": b"\xff\xd8\xff\xe0" + bytes(40),
    "GIF": b"GIF89a" + bytes(40),
    "WebP": b"RIFF\x24\0\0\0WEBPVP8 ",
    "MP4": b"\0\0\0\x20ftypisom" + bytes(40),
    "Matroska": b"\x1aE\xdf\xa3" + bytes(40),
    "AVI": b"RIFF\x24\0\0\0AVI LIST",
    "SQLite": b"SQLite format 3\0" + bytes(40),
    "program": b"\x7fELF" + bytes(40),
    "subtitles": b"1\r\n00:00:01,000 --> 00:00:02,500\r\nHello.\r\n",
    "subtitles  ": b"[Script Info]\nTitle: A\n",
    "RTF ": b"{\\urtf1 INT. A - DAY}",
    "HTML  ": b"<font size=2>INT. A</font>\nAnna.\n",
    "table ": b"a;b;c\n1;2;3\n4;5;6\n7;8;9\n",
    "property list": b"bplist00\xd1abc",
    "e-mail": b"MIME-Version: 1.0\nContent-Type: text/html\n\n<html></html>\n",
    "Trelby": b"#Version 3\n#Begin-Auto-Completion \n.\\INT. A\n",
    "subtitles ": b"WEBVTT\n\n00:01.000 --> 00:02.000\nHello.\n",
    "table": b"name,scene,words\nANNA,1,20\nBEN,1,3\nANNA,2,9\nBEN,3,1\n",
    "source code": b"#!/usr/bin/env python\nprint('INT. A')\n",
    "source code ": b"import os\n\nprint(os.name)\n",
    "binary data": b"INT. A - DAY\n\nAnna \0\x01\x02 waits.\n",
}


@pytest.mark.parametrize("suffix", [".txt", ".fountain", ".dat"])
@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_screenplay_is_refused_by_name(tmp_path: Path, what: str, suffix: str) -> None:
    path = tmp_path / f"movie{suffix}"
    path.write_bytes(REFUSED[what])
    with pytest.raises(FeatureError, match=rf"movie\{suffix}: expected a .*{what.strip()}"):
        list(read_screenplays(path))
    with pytest.raises(FeatureError, match=rf"movie\{suffix}: .*{what.strip()}"):
        find_sources(path)


@pytest.mark.parametrize(
    "text",
    [
        "[[A note first]]\n\nINT. A - DAY\n\nRain.",
        "BMW. That is all he says.\n\nBEN\nBMW?",
        "{He waits}\n\nShe comes.",
        "1\n\nRain at 10:00.",
        "<whisper>\n\nShe comes.",
        "<b>INT. A - DAY\n</b>\nShe comes.",
        "ID3 walks in.\n\nRar! says he.",
        "INT. A, B, C\nAnna, Bert, Cleo.\nRed, green, blue.\nOne, two, three.\n",
        "Anna, Ben, and Tom come in.\n\nANNA\nOne, two, three.\n\nThey, of course, sit down.",
        "Important people come in.\n\nimport them, he says.",
    ],
)
def test_text_that_may_be_a_script_is_read(text: str) -> None:
    assert parse_screenplay(text.encode(), "x").blocks


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.fdx", SCRIPT.encode(), r"a\.fdx: expected Final Draft's XML \(.fdx\), got text"),
        ("a.fdx", pdf(PAGE), r"a\.fdx: .* got a PDF where fdx was expected"),
        ("a.pdf", SCRIPT.encode(), r"a\.pdf: expected a PDF, got other data"),
        ("a.jsonl", SCRIPT.encode(), r"a\.jsonl:1: expected a JSON object"),
        (
            "a.docx",
            ZIP + b"word/document.xml",
            r"a\.docx: expected a film .*, features or .*, got a Word document",
        ),
        ("a.xyz", b"x", r"a\.xyz: expected a film .*, features or a screenplay .*, got \.xyz"),
    ],
)
def test_a_suffix_that_its_content_does_not_bear_out(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FeatureError, match=message):
        find_sources(tmp_path / name)


def test_kinds_and_sizes_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text(SCRIPT)
    with pytest.raises(FeatureError, match=f"kind: expected one of {', '.join(KINDS)}, got 'word'"):
        list(read_screenplays(tmp_path / "a.txt", "word"))
    monkeypatch.setattr("megaseg.features.screenplay.files.MOST_BYTES", 20)
    with pytest.raises(FeatureError, match=r"a\.txt: expected a screenplay of up to 0 MiB"):
        list(read_screenplays(tmp_path / "a.txt"))

"""PDF screenplays: columns, margins, pages, and files that are broken, locked or scanned."""

from __future__ import annotations

import io
import logging
import sys
import zlib
from contextlib import suppress

import pypdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from script_files import Run, content, pdf, pdf_of

from megaseg.errors import FeatureError, MegasegError, UnsupportedError
from megaseg.features import Screenplay, parse_screenplay

ACTION, SPEECH, ASIDE, CUE, EDGE = 108, 180, 216, 252, 540


def column(*lines: tuple[float, str] | None, top: float = 708) -> list[Run]:
    """Lines at 12 points below one another; None is an empty one."""
    return [(line[0], top - 12 * i, line[1]) for i, line in enumerate(lines) if line]


FIRST = [
    *((72, 708, "12"), (EDGE, 708, "12"), (ASIDE + 300, 750, "1.")),
    *column(
        *((ACTION, "INT. KITCHEN - DAY"), None, (ACTION, "Anna waits by the stove. The kettle is one of those old-")),
        *(
            (ACTION, "fashioned ones."),
            None,
            (CUE, "ANNA (O.S.)"),
            (ASIDE, "(quietly)"),
            (SPEECH, "NOT TODAY, my friend."),
        ),
        *((SPEECH, "It is late."), None, (CUE, "BEN"), (SPEECH, "Why?"), None, (432, "CUT TO:"), None),
        *((ACTION, "EXT. YARD - NIGHT"), None, (ACTION, "RAIN"), (ACTION, "falls.")),
    ),
    (560, 612, "*"),
]
BLOCKS = [
    ("", "Anna waits by the stove. The kettle is one of those old-fashioned ones."),
    ("ANNA", "(quietly) NOT TODAY, my friend. It is late."),
    ("BEN", "Why?"),
    ("", "RAIN falls."),
]


def read(document: bytes) -> Screenplay:
    return parse_screenplay(document, "m", "m.pdf")


def blocks(document: bytes) -> list[tuple[str, str]]:
    return [(block.speaker, block.text) for block in read(document).blocks]


@pytest.mark.parametrize("one_object", [False, True])
def test_columns_tell_cues_speeches_and_action_apart(one_object: bool) -> None:
    play = read(pdf(FIRST, one_object=one_object))
    assert [(block.speaker, block.text) for block in play.blocks] == BLOCKS
    assert (play.num_scenes, play.remarks) == (2, ())


def test_letters_and_words_that_are_placed_one_by_one() -> None:
    ordered = sorted(FIRST, key=lambda run: (-run[1], run[0]))
    letters = [(x + 7.2 * i, y, letter) for x, y, words in ordered for i, letter in enumerate(words) if letter != " "]
    assert blocks(pdf(letters, one_object=True)) == BLOCKS


def test_a_speech_goes_on_after_a_page_break() -> None:
    first = column((ACTION, "INT. A - DAY"), None, (CUE, "ANNA"), (SPEECH, "It is so late that"), (CUE, "(MORE)"))
    second = column((CUE, "ANNA (CONT'D)"), (SPEECH, "nobody comes."), None, (CUE, "BEN"), (SPEECH, "No."))
    assert blocks(pdf(first, second)) == [("ANNA", "It is so late that nobody comes."), ("BEN", "No.")]
    again = column((CUE, "ANNA (CONT'D)"), (SPEECH, "Nobody comes."))
    assert blocks(pdf(first[:-1], again)) == [("ANNA", "It is so late that"), ("ANNA", "Nobody comes.")]


def test_headers_footers_and_a_title_page_are_no_text() -> None:
    pages = [[(260, 500, "THE LAMP"), (290, 470, "by"), (250, 450, "A. Nobody"), (108, 88, "Some Street 12")]]
    for number in range(2, 6):
        head: list[Run] = [(108, 752, "LAMP - Blue Rev. 3/4"), (520, 752, f"{number}."), (468, 40, "(CONTINUED)")]
        body = column(
            (ACTION, f"INT. ROOM {number} - DAY"), None, (ACTION, "Rain."), None, (CUE, "ANNA"), (SPEECH, "Yes.")
        )
        pages.append([*head, *body])
    play = read(pdf(*pages))
    assert [block.text for block in play.blocks] == ["Rain.", "Yes."] * 4
    assert play.num_scenes == 4


def test_numbers_that_are_part_of_headings_leave_the_columns_alone() -> None:
    lines = [
        (ACTION, "Rain falls on the roof."),
        None,
        (CUE, "ANNA"),
        (SPEECH, "Yes, and it goes"),
        (SPEECH, "on."),
        None,
    ]
    runs = [(70, 708.0, "101 INT. HALL - DAY 101"), *column(*lines, top=684), (70, 612.0, "102 EXT. SEA 102")]
    runs += [*column((ACTION, "Waves."), top=588), (300, 40, "- 3 -")]
    play = read(pdf(runs))
    assert [(block.speaker, block.text) for block in play.blocks] == [
        ("", "Rain falls on the roof."),
        ("ANNA", "Yes, and it goes on."),
        ("", "Waves."),
    ]
    assert play.num_scenes == 2


def test_a_sentence_goes_on_after_a_page_break() -> None:
    first = column((ACTION, "INT. A - DAY"), None, (CUE, "ANNA"), (SPEECH, "Yes."), None, (ACTION, "He waits by the"))
    second = column((ACTION, "door."), None, (ACTION, "She comes."))
    assert blocks(pdf(first, second)) == [("ANNA", "Yes."), ("", "He waits by the door."), ("", "She comes.")]


def test_speeches_side_by_side() -> None:
    left = column(
        (ACTION, "Both."), None, (176, "ANNA"), (140, "Yes, it is"), (140, "so."), None, (CUE, "BEN"), (SPEECH, "Oh.")
    )
    right = column(None, None, (396, "BEN"), (360, "No, it is"), (360, "not so"), (360, "at all."))
    runs = [run for run in left if run[1] != 648] + right
    runs = [(x, y - 24 if y <= 636 and x in (CUE, SPEECH) else y, words) for x, y, words in runs]
    assert blocks(pdf(runs)) == [
        ("", "Both."),
        ("ANNA", "Yes, it is so."),
        ("BEN", "No, it is not so at all."),
        ("BEN", "Oh."),
    ]


def test_double_spacing() -> None:
    lines = [(ACTION, "INT. A - DAY"), None, (ACTION, "Rain falls on"), (ACTION, "the roof."), None]
    lines += [(CUE, "ANNA"), (SPEECH, "Yes, and it"), (SPEECH, "goes on."), None, (ACTION, "She goes.")]
    runs = [(x, 708 - 2 * (708 - y), words) for x, y, words in column(*lines)]
    assert blocks(pdf(runs)) == [("", "Rain falls on the roof."), ("ANNA", "Yes, and it goes on."), ("", "She goes.")]


def test_without_columns_it_is_read_as_plain_text() -> None:
    lines = ("INT. A - DAY", "", "Rain.", "", "ANNA", "Yes.", "", "She goes.")
    flat = column(*((ACTION, line) if line else None for line in lines))
    play = read(pdf(flat))
    assert [(block.speaker, block.text) for block in play.blocks] == [
        ("", "Rain."),
        ("ANNA", "Yes."),
        ("", "She goes."),
    ]
    assert play.remarks == ("m.pdf: no columns of dialogue found; read as plain text",)


def test_pages_without_text() -> None:
    with pytest.raises(FeatureError, match=r"m\.pdf: expected a PDF with text, got 2 pages without: a scan\? Run OCR"):
        read(pdf([], []))
    assert read(pdf(FIRST, [], [])).remarks == ("m.pdf: 2 of 3 pages have no text: scanned pages?",)


def test_encrypted_files() -> None:
    def locked(user: str) -> bytes:
        writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf(FIRST)))
        writer.encrypt(user, "owner", algorithm="RC4-128")
        out = io.BytesIO()
        writer.write(out)
        return out.getvalue()

    with pytest.raises(FeatureError, match=r"m\.pdf: expected a PDF without password.* save a copy without it"):
        read(locked("secret"))
    assert blocks(locked("")) == BLOCKS  # it only forbids printing


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = zlib.compress(b"BT ET\n" * 5_000_000)
    packed = pdf_of([bomb]).replace(b"/Length", b"/Filter /FlateDecode /Length")
    with pytest.raises(FeatureError, match=r"m\.pdf: expected a readable PDF"):
        read(packed)
    monkeypatch.setattr("megaseg.features.screenplay.pdf.document.MOST_PAGES", 2)
    with pytest.raises(FeatureError, match=r"m\.pdf: expected a PDF of up to 2 pages, got 3"):
        read(pdf(FIRST, FIRST, FIRST))


def test_what_is_no_pdf_is_named() -> None:
    for document, message in (
        (b"INT. A\n\nRain.", "expected a PDF"),
        (b"%PDF-1.7\nnothing", "expected a readable PDF"),
    ):
        with pytest.raises(FeatureError, match=f"m: {message}"):
            parse_screenplay(document, "m", kind="pdf")


def test_pypdf_says_nothing(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(FeatureError):
        read(pdf(FIRST)[:300])
    assert not caplog.records
    assert capsys.readouterr() == ("", "")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypdf", None)
    with pytest.raises(UnsupportedError, match=r"m\.pdf: PDF files need pypdf: pip install 'megaseg\[pdf\]'"):
        read(pdf(FIRST))


@settings(max_examples=100, deadline=10_000)
@given(st.integers(0, 3000), st.binary(min_size=1, max_size=8))
def test_a_damaged_file_ends_in_blocks_or_an_error(at: int, patch: bytes) -> None:
    whole = pdf_of([content(FIRST)])
    with suppress(MegasegError):
        read(whole[: at % len(whole)] + patch + whole[at % len(whole) + len(patch) :])

"""Bytes to text: marks, UTF-16, 8-bit encodings on short scripts, and what is refused."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaseg.encodings import decoding
from megaseg.errors import FeatureError, MegasegError, UnsupportedError
from megaseg.features import parse_screenplay

FRENCH = "INT. CUISINE - NUIT\n\nÉlodie prépare le dîner. Où est l’été ?\n\nÉLODIE\nLà… «\u00a0oui, peut-être\u00a0».\n"
SPANISH = "INT. SALÓN - NOCHE\n\nMaría está sentada. El niño corre.\n\nMARÍA\n¿Dónde está mi muñeca? ¡Qué lástima!\n"
GERMAN = "INT. KÜCHE - TAG\n\nJürgen öffnet die Tür. Draußen fällt Schnee.\n\nJÜRGEN\nSchöne Grüße aus Köln!\n"
SWEDISH = "INT. KÖK - DAG\n\nÅsa går över ån. Därför är hon här.\n\nÅSA\nJag är trött.\n"
QUOTES = "INT. KITCHEN - DAY\n\nAnna doesn’t wait. She says “no” – twice.\n\nANNA\nI can’t. It’s over…\n\nRain.\n" * 3
ONE_WORD = "INT. KITCHEN - DAY\n\nAnna drinks at the café.\n\nANNA\nI am here for the whole day and will not leave.\n"
RUSSIAN = "ИНТ. КУХНЯ - ДЕНЬ\n\nАнна ждёт у плиты. За окном дождь.\n\nАННА\nНе сегодня.\n"
CZECH = "INT. KUCHYNĚ - DEN\n\nJiří čeká u okna. Příliš žluťoučký kůň.\n\nJIŘÍ\nDneska ne, děkuji.\n"
POLISH = "INT. KUCHNIA - DZIEŃ\n\nZośka czeka przy oknie. Żółty ser leży na stole.\n\nZOŚKA\nNie dziś, proszę.\n"
TURKISH = "İÇ. MUTFAK - GÜN\n\nAyşe pencerede bekliyor. Yağmur yağıyor.\n\nAYŞE\nBugün değil, ağabey.\n"
GREEK = "ΕΣΩΤ. ΚΟΥΖΙΝΑ - ΗΜΕΡΑ\n\nΗ Άννα περιμένει δίπλα στο παράθυρο.\n\nΑΝΝΑ\nΌχι σήμερα.\n"
JAPANESE = "屋内。台所 - 昼\n\nアンナは窓のそばで待っている。\n\nアンナ\n今日はだめです。\n"
CHINESE = "内景。厨房 - 白天\n\n安娜在窗边等待。\n\n安娜\n今天不行。\n"


def decode(content: bytes | str, where: str) -> tuple[str, list[str]]:
    return decoding.decode(content, where, "a text screenplay (Fountain or plain)")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
@pytest.mark.parametrize("text", [FRENCH, RUSSIAN, QUOTES, CHINESE.replace("。", "。\n")])
def test_unicode_is_read_without_a_word(text: str, encoding: str) -> None:
    content = text.encode(encoding)
    if encoding == "utf-16-be":
        content = "\ufeff".encode("utf-16-be") + content
    assert decode(content, "x") == (text, [])


@pytest.mark.parametrize("text", [FRENCH, SPANISH, GERMAN, SWEDISH, QUOTES, ONE_WORD, "Sie ist schön. Er hört es.\n"])
@pytest.mark.parametrize(("encoding", "name"), [("cp1252", "Windows-1252"), ("mac_roman", "Mac Roman")])
def test_western_scripts_of_600_bytes(text: str, encoding: str, name: str) -> None:
    read, remarks = decode(text.encode(encoding), "x")
    assert read == text
    assert remarks == [f"read as {name}; save it as UTF-8 if names or accents look wrong"]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        *((RUSSIAN, name) for name in ("cp1251", "koi8_r", "cp866")),
        *((CZECH, name) for name in ("cp1250", "iso8859_2")),
        *((POLISH, name) for name in ("cp1250", "iso8859_2")),
        (FRENCH.replace("’", "'").replace("…", "..."), "iso8859_15"),
        (FRENCH.replace("’", "'").replace("…", "..."), "cp850"),
        (TURKISH, "cp1254"),
        (GREEK, "cp1253"),
        *((JAPANESE, name) for name in ("shift_jis", "euc_jp")),
        (CHINESE, "gb18030"),
        ("פנים. מטבח - יום\n\nאנה מחכה ליד התנור.\n\nאנה\nלא היום.\n", "cp1255"),
    ],
)
def test_other_languages(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding), "x")[0] == text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("INT. BAR - DAY\n\nRain.\n\nZOË\nNo.\n", "mac_roman"),
        ("INT. BAR - DAY\n\nLe cœur bat. Un œuf.\n", "iso8859_15"),
        ("He waits by the door and counts the steps.\n\n" * 2000 + RUSSIAN, "cp1251"),
        ("He waits by the door and counts the steps.\n\n" * 2000 + GREEK, "cp1253"),
    ],
)
def test_letters_out_of_place_tell_the_encoding(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding), "x")[0] == text


def test_a_few_accents_in_a_long_script_count() -> None:
    long = "He waits by the door and counts the steps.\n\n" * 2000 + "CAFÉ, they say, isn’t “open”.\n"
    for encoding in ("cp1252", "mac_roman"):
        assert decode(long.encode(encoding), "x")[0] == long


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"He waits \0 here.", "x: expected a text screenplay .*, got binary data"),
        (bytes(range(256)) * 4, "x: expected a text screenplay .*, got binary data"),
        (b"He waits.\n" + bytes(range(0x80, 0x100)), r"x: .* no known encoding \(the first is 0x80 at offset 10\)"),
        ("Élodie à l’été, là".encode() + b" \x92 " + "é".encode(), "x: .* UTF-8, got byte 0x92 at offset 26"),
        ("Élodie dîne à l’été…".encode()[:-1], "x: .* UTF-8, got byte 0xE2 at offset 26"),
        ("He waits \ud800 here.", "x: expected text, got half of a surrogate pair"),
        (b"\x01\x02\x03 He waits.", "x: expected a text screenplay .*, got binary data"),
        (b"\xff\xfeH\0e\0l", "x: expected UTF-16-LE, as its byte order mark says, got truncated data at offset 6"),
    ],
)
def test_what_no_encoding_explains_names_the_byte(content: bytes | str, message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        decode(content, "x")


def test_characters_that_were_lost_before_are_remarked() -> None:
    play = parse_screenplay("M\ufffdRA waits.\n\nT\ufffdM\nYes.\n".encode(), "m", "m.txt")
    assert play.remarks == ("m.txt: 2 characters were lost before megaseg read the file (U+FFFD); export it again",)


def test_a_few_characters_that_make_no_sense_do_not_stop_a_long_script() -> None:
    long = "He waits by the door and counts the steps.\n" * 100 + "þ ß¤ ×\n"
    text, remarks = decode(long.encode("cp1252"), "x")
    assert (len(text), text[:-9], len(remarks)) == (len(long), long[:-9], 1)
    with pytest.raises(FeatureError, match="no known encoding"):
        decode(b"He. \xa4 \xfe\xb6 \xac\xa6\n", "x")


def test_text_that_was_encoded_twice_is_remarked() -> None:
    twice = "Anna doesn’t wait. “No”, she says.\n".encode().decode("cp1252", errors="ignore")
    assert decode(twice.encode(), "x")[1] == ["2 characters were encoded twice, such as â€™ for ’; export it again"]


def test_dots_and_dashes_of_mac_roman() -> None:
    for text in ("Well … he says … no.\n", "He – who else – waits.\n", "Yes — no — yes.\n"):
        assert decode(text.encode("mac_roman"), "x")[0] == text


def test_utf8_needs_no_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "charset_normalizer", None)
    assert decode(FRENCH.encode(), "x") == (FRENCH, [])
    with pytest.raises(UnsupportedError, match=r"x: expected text in UTF-8; .*pip install 'megaseg\[text\]'"):
        decode(FRENCH.encode("cp1252"), "x")


def test_the_same_screenplay_in_every_encoding() -> None:
    plain = parse_screenplay(SPANISH, "x")
    for encoding in ("utf-8", "utf-16", "cp1252", "mac_roman"):
        play = parse_screenplay(SPANISH.encode(encoding), "x")
        assert play.blocks == plain.blocks
        assert "\ufffd" not in "".join(block.text for block in play.blocks)


@given(st.binary())
def test_any_bytes_end_in_text_or_an_error(content: bytes) -> None:
    try:
        text, _ = decode(content, "x")
    except MegasegError:
        return
    assert "\0" not in text

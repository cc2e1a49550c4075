"""Subtitles: plain text of events, what is speech, files in many formats and encodings, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from megaseg.errors import FeatureError, UnsupportedError
from megaseg.media.sidecars import find_sidecar, read_subtitles
from megaseg.media.subtitles import SubtitleLine, in_order, plain_text, spoken, without_markup

SRT = "1\n00:00:01,000 --> 00:00:02,500\nDie Tür geht auf.\n\n2\n00:00:03,000 --> 00:00:04,000\n- Où est-il ?\n- Là.\n"
CRLF = SRT.replace("\n", "\r\n")
CR = SRT.replace("\n", "\r")
LINES = (SubtitleLine(1000, 2500, "Die Tür geht auf."), SubtitleLine(3000, 4000, "- Où est-il ?\n- Là."))
VTT = """WEBVTT - a title

STYLE
::cue { color: red }

NOTE 00:00 --> is a note
about nothing

first cue
00:01.000 --> 00:02.500 align:left
<v Anna>Die <b>Tür</b> geht <00:00:01.500>auf.</v>

NOTE after

second
00:00:03.000 --> 00:00:04.000
- O&ugrave; est-il ?
- Là.

00:00:05.000 --> 00:00:06.000
"""
ASS = """[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname
Style: Default,Arial,20

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:03.00,0:00:04.00,Default,,0,0,0,,{\\an8}- Où est-il ?\\N- Là.
Comment: 0,0:00:00.00,0:00:09.00,Default,,0,0,0,,a note
Dialogue: 0,0:00:01.00,0:00:02.50,Default,,0,0,0,,Die {\\i1}Tür{\\i0} geht auf.
Dialogue: 0,0:00:01.00,0:00:02.50,Default,,0,0,0,,{\\p1}m 0 0 l 10 10{\\p0}
Dialogue: 1,0:00:01.00,0:00:02.50,Default,,0,0,0,,Die {\\i1}Tür{\\i0} geht auf.
"""
TTML = """<?xml version="1.0"?><tt xmlns="http://www.w3.org/ns/ttml"><body><div>
<p begin="00:00:01.000" end="00:00:02.500">Die Tür geht auf.</p><p begin="3s" end="4s">- Où est-il ?<br/>- Là.</p>
</div></body></tt>"""
SUB = "{1}{1}25\n{25}{62}{y:i}Die Tür geht auf.\n{75}{100}- Où est-il ?|- Là.\n"


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ("12,0,Default,Anna,0,0,0,,Wait, {\\i1}please{\\i0}.\\NNow.", "Wait, please.\nNow."),
        ("0,0,Default,,0,0,0,,{\\pos(1,2)\\fad(1,2)}A\\hB", "A B"),
        ("0,0,Default,,0,0,0,,{\\p1}m 0 0 l 5 5{\\p0}Sign", "Sign"),
        ("Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,Yes, I know", "Yes, I know"),
        ("Comment: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,no", ""),
        ("3,0,Default,,0,0,0,,", ""),
    ],
)
def test_text_of_ass_events(event: str, text: str) -> None:
    assert plain_text(event) == text


@pytest.mark.parametrize(
    ("marked", "text"),
    [
        ("<i>Rain</i> <font color='#fff'>falls.</font>", "Rain falls."),
        ("5 < 6 and I <3 you > all", "5 < 6 and I <3 you > all"),
        ("Tom &amp; Anna&nbsp;&lt;here&gt;", "Tom & Anna <here>"),
        ("\u200eRain\u202c\ufeff<br />falls\r\nhere", "Rain\nfalls\nhere"),
        ("- Yes.\n  - No.", "- Yes.\n- No."),
    ],
)
def test_markup_goes_and_dashes_stay(marked: str, text: str) -> None:
    assert without_markup(marked) == text


def test_lines_are_put_in_order() -> None:
    lines = [
        SubtitleLine(5000, 7000, "c"),
        SubtitleLine(-500, 700, "a"),
        SubtitleLine(-900, -100, "before"),
        SubtitleLine(1000, 6000, "b"),
        SubtitleLine(1000, 6000, "b"),
        SubtitleLine(3000, 3000, "no time"),
        SubtitleLine(4000, 3000, "backwards"),
        SubtitleLine(4000, 4100, " \n"),
    ]
    assert in_order(lines) == (SubtitleLine(0, 700, "a"), SubtitleLine(1000, 6000, "b"), SubtitleLine(5000, 7000, "c"))


@pytest.mark.parametrize(
    ("text", "speech"),
    [
        ("[music]", ""),
        ("(door slams)", ""),
        ("- (sighs)\n- Who is there?", "- Who is there?"),
        ("[ANNA] Wait for me!", "Wait for me!"),
        ("♪ The sea, the sea ♪", ""),
        ("# The sea, the sea #", ""),
        ("（ドアの音）", ""),
        ("We are\nnumber # 1.", "We are number # 1."),
    ],
)
def test_sounds_and_songs_are_no_speech(text: str, speech: str) -> None:
    found = spoken([SubtitleLine(0, 10, text)])
    assert [line.text for line in found] == ([speech] if speech else [])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *zip(("a.srt", "a.vtt", "a.ass", "a.ttml", "a.sub"), (SRT, VTT, ASS, TTML, SUB), strict=True),
        ("crlf.srt", CRLF),
        ("cr.srt", CR),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_every_format_gives_the_same_lines(tmp_path: Path, name: str, content: str, encoding: str) -> None:
    if name == "a.ttml" and encoding != "utf-8":
        content = content.replace('<?xml version="1.0"?>', "")
    found = read_subtitles(write(tmp_path / name, content, encoding))
    assert found == tuple(SubtitleLine(line.start_ms, min(line.end_ms, 4000), line.text) for line in LINES) or (
        name == "a.sub" and [line.text for line in found] == [line.text for line in LINES]
    )


def test_old_encodings_and_damaged_bytes(tmp_path: Path) -> None:
    russian = "1\n00:00:01,000 --> 00:00:02,000\nОна ждёт у плиты. За окном дождь.\n"
    assert "ждёт" in read_subtitles(write(tmp_path / "a.srt", russian, "cp1251"))[0].text
    path = tmp_path / "b.srt"
    path.write_bytes(SRT.encode() * 3 + b"9\n00:00:09,000 --> 00:00:10,000\nse\xf1or\n")
    assert read_subtitles(path)[-1].text == "se\ufffdor"


def test_times_before_the_start_and_out_of_order(tmp_path: Path) -> None:
    text = (
        "2\n00:00:05,000 --> 00:00:06,000\nlater\n\n"
        "1\n-00:00:01,500 --> 00:00:01,000\nfirst\n\n"
        "0\n-00:00:03,000 --> -00:00:02,000\nnever\n"
    )
    assert read_subtitles(write(tmp_path / "a.srt", text)) == (
        SubtitleLine(0, 1000, "first"),
        SubtitleLine(5000, 6000, "later"),
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got text of another kind"),
        (b"Once upon a time.\n", "got text of another kind"),
        (b"1\n00:00:01,000 --> 00:00:02,000\n\n", "got no line with text"),
        (b"\x00\x00\x01\xba\x44", "got subtitles as pictures"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "expected subtitles .*, got"),
        (b"{10}{20}Hello\n", "expected a frame rate for lines timed in frames"),
        (TTML.replace("<tt ", "<!DOCTYPE tt><tt ").encode(), "without a document type"),
        (TTML.encode()[:-20], r"a\.srt: expected subtitles"),
        (b"[V4+ Styles]\n[Events]\nDialogue: 0,soon,later,Default,,0,0,0,,Hi\n", "Failed to parse timestamp"),
    ],
)
def test_what_is_refused_names_the_file(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.srt"
    path.write_bytes(content)
    with pytest.raises(FeatureError, match=message) as caught:
        read_subtitles(path)
    assert str(caught.value).startswith(str(path))


def test_missing_files_and_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FeatureError, match="No such file"):
        read_subtitles(tmp_path / "none.srt")
    monkeypatch.setitem(sys.modules, "pysubs2", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'megaseg\[video\]'"):
        read_subtitles(write(tmp_path / "a.srt", SRT))


def test_a_frame_rate_of_the_film(tmp_path: Path) -> None:
    path = write(tmp_path / "a.sub", "{25}{50}Hello\n")
    assert read_subtitles(path, frame_rate=25) == (SubtitleLine(1000, 2000, "Hello"),)


def test_the_file_beside_a_film(tmp_path: Path) -> None:
    film = tmp_path / "Film.One.mkv"
    assert find_sidecar(film) is None
    for name in ("Film.One.de.srt", "Film.One.en.forced.srt", "Film.One.en-GB.ass", "Film.One2.srt", "Film.One.txt"):
        write(tmp_path / name, SRT)
    (tmp_path / "Film.One.sub").write_bytes(b"\x00\x00\x01\xba pictures")
    assert find_sidecar(film) == tmp_path / "Film.One.en-GB.ass", "the encoder's language"
    assert find_sidecar(film, "de") == tmp_path / "Film.One.de.srt"
    assert find_sidecar(film, "fr") == tmp_path / "Film.One.en-GB.ass"
    write(tmp_path / "film.one.vtt", VTT)
    assert find_sidecar(film) == tmp_path / "film.one.vtt"
    write(tmp_path / "Film.One.SRT", SRT)
    assert find_sidecar(film) == tmp_path / "Film.One.SRT"
    assert find_sidecar(tmp_path / "none" / "film.mkv") is None


@given(content=st.binary(max_size=200) | st.text("{}[]<>:,.-0123456789 \nwEBVTaj\\NDialogue", max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_content_gives_lines_or_an_error(tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "a.srt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        lines = read_subtitles(path)
    except FeatureError:
        return
    assert all(0 <= line.start_ms < line.end_ms and line.text for line in lines)

"""Chapters in copies of films: there for players, and every packet is what it was."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import films
import pytest

from megaseg.errors import FeatureError, UnsupportedError
from megaseg.media.mux import Chapter, write_chapters

NASTY = 'Tom & "Jerry" <b>;#=\\ --> ]]>\r\n\tשלום \u202eabc 🎬\x0b\x07'
LINE = 'Tom & "Jerry" <b>;#=\\ --> ]]> שלום \u202eabc 🎬'  # NASTY on one line, without control characters
RATE = Fraction(24000, 1001)
FRAMES = 96
CHAPTERS = [
    Chapter(Fraction(0), 24 / RATE, NASTY),
    Chapter(24 / RATE, 90 / RATE, "Zwei"),
    Chapter(90 / RATE, 4, "é" * 200),
]
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg: package ffmpeg")


def film(path: Path, *, lines: bool = False, **look: Any) -> Path:
    """A small film with two tracks of sound, with subtitles on request."""
    tones = [
        films.Tone(films.beeps(4), language="eng"),
        films.Tone(films.beeps(4), codec="flac" if path.suffix == ".mkv" else "aac", language="jpn", default=False),
    ]
    own = [(0.5, 1.5, "A line."), (2, 3, "And another.")] if lines else []
    return films.write_film(path, films.shots(FRAMES), films.Look(rate=RATE, **look), sound=tones, lines=own)


def packets(path: Path) -> dict[int, list[bytes]]:
    """Hash of every packet of each stream of pictures, sound and subtitles."""
    found: dict[int, list[bytes]] = {}
    with av.open(str(path)) as container:
        streams = [stream for stream in container.streams if stream.type in ("video", "audio", "subtitle")]
        for packet in container.demux(streams):
            if packet.size:
                found.setdefault(packet.stream.index, []).append(hashlib.sha1(bytes(packet)).digest())
    return found


def streams(path: Path) -> list[tuple[str, str, str | None, int]]:
    with av.open(str(path)) as container:
        return [
            (
                stream.type,
                stream.codec_context.name if stream.codec_context else "",
                stream.language or "und",
                stream.disposition,
            )
            for stream in container.streams
            if stream.type != "data"
        ]


def chapters(path: Path) -> list[tuple[Fraction, Fraction, str]]:
    with av.open(str(path)) as container:
        return [
            (one["start"] * one["time_base"], one["end"] * one["time_base"], one["metadata"]["title"])
            for one in container.chapters()
        ]


def frame_times(path: Path) -> list[Fraction]:
    """Times of the pictures."""
    with av.open(str(path)) as container:
        stamps = sorted(packet.pts for packet in container.demux(video=0) if packet.pts is not None)
        return [stamp * container.streams.video[0].time_base for stamp in stamps]


@pytest.mark.parametrize(
    ("source", "target"), [("a.mp4", "b.mp4"), ("a.mp4", "b.mkv"), ("a.mp4", "b.mov"), ("a.mkv", "b.mkv")]
)
def test_a_copy_has_the_chapters_and_every_packet(source: str, target: str, tmp_path: Path) -> None:
    own, copy = film(tmp_path / source, lines=source.endswith("mkv")), tmp_path / target
    before = own.read_bytes()
    assert write_chapters(own, copy, CHAPTERS) == ()
    assert own.read_bytes() == before
    assert packets(copy) == packets(own)
    assert streams(copy) == streams(own)
    found = chapters(copy)
    longest = 400 if target.endswith("mkv") else 255  # bytes
    assert [name for _, _, name in found] == [LINE, "Zwei", ("é" * 200).encode()[:longest].decode(errors="ignore")]
    assert found[0][0] == 0
    times = frame_times(copy)
    for (start, _, _), frame in zip(found[1:], (24, 90), strict=True):
        assert abs(start - times[frame]) <= Fraction(1, 1000), "a chapter begins where its first picture is shown"
    assert [path.name for path in sorted(tmp_path.iterdir())] == sorted([source, target])


@needs_ffmpeg
@pytest.mark.parametrize("target", ["b.mp4", "b.mkv", "b.mov"])
def test_ffprobe_and_ffmpeg_agree(target: str, tmp_path: Path) -> None:
    own, copy = film(tmp_path / "a.mp4"), tmp_path / target
    write_chapters(own, copy, CHAPTERS)
    assert stream_hashes(copy) == stream_hashes(own)
    told = json.loads(
        _run("ffprobe", "-v", "error", "-of", "json", "-show_chapters", "-show_streams", "-count_packets", copy)
    )
    assert [one["tags"]["title"] for one in told["chapters"]][1] == "Zwei"
    counts = {one["codec_type"]: int(one["nb_read_packets"]) for one in told["streams"] if one["codec_type"] == "video"}
    assert counts == {"video": FRAMES}


def stream_hashes(path: Path) -> str:
    return _run(
        "ffmpeg", "-v", "error", "-i", path, "-map", "0:v", "-map", "0:a", "-c", "copy", "-f", "streamhash", "-"
    )


def _run(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_webm_has_chapters_as_well(tmp_path: Path) -> None:
    tone = films.Tone(films.beeps(2), codec="libopus")
    own = films.write_film(tmp_path / "a.webm", films.shots(48), films.Look("libvpx", rate=24), sound=[tone])
    copy = tmp_path / "b.webm"
    write_chapters(own, copy, [Chapter(Fraction(0), Fraction(1), "One"), Chapter(Fraction(1), Fraction(2), "Two")])
    assert packets(copy) == packets(own)
    assert [name for _, _, name in chapters(copy)] == ["One", "Two"]


def test_earlier_chapters_are_replaced_and_texts_stay(tmp_path: Path) -> None:
    own = film(tmp_path / "a.mkv")
    once, again, back = tmp_path / "b.mp4", tmp_path / "c.mp4", tmp_path / "d.mkv"
    with av.open(str(own)) as container, av.open(str(tmp_path / "t.mkv"), "w") as titled:
        titled.metadata.update(title="Der Fïlm", comment="x")
        mapped = {one.index: titled.add_stream_from_template(one, opaque=True) for one in container.streams}
        for packet in container.demux():
            if packet.dts is not None:
                packet.stream = mapped[packet.stream.index]
                titled.mux(packet)
    write_chapters(tmp_path / "t.mkv", once, CHAPTERS)
    assert write_chapters(once, again, CHAPTERS[1:]) == (), "the track of earlier chapters is none of the film's"
    assert write_chapters(again, back, CHAPTERS[:1]) == ()
    assert [len(chapters(path)) for path in (once, again, back)] == [3, 2, 1]
    for path in (once, again, back):
        with av.open(str(path)) as container:
            assert container.metadata["title"] == "Der Fïlm"


def test_attachments_and_covers_stay(tmp_path: Path) -> None:
    own = tmp_path / "a.mkv"
    with av.open(str(own), "w") as container:
        container.add_attachment("font.ttf", "font/ttf", b"a font")
        container.add_attachment("cover.png", "image/png", _png())
        _one_second(container)
    copy, other = tmp_path / "b.mkv", tmp_path / "c.mp4"
    assert write_chapters(own, copy, CHAPTERS[:1]) == ()
    assert _attached(copy) == _attached(own)
    assert len(_attached(own)) == 2
    assert write_chapters(own, other, CHAPTERS[:1]) == ("attachment font.ttf",)
    assert write_chapters(other, tmp_path / "d.mkv", CHAPTERS[:1]) == ()
    assert _attached(tmp_path / "d.mkv") == {"cover.png": _png()}
    left = write_chapters(other, tmp_path / "e.mov", CHAPTERS[:1])
    assert [what.split()[0] for what in left] == ["cover"], "QuickTime has no place for one"


def _attached(path: Path) -> dict[str, bytes]:
    """Attachments by name; covers are streams of one picture to libav."""
    with av.open(str(path)) as container:
        found = {one.metadata["filename"]: one.data for one in container.streams if one.type == "attachment"}
        covers = [one for one in container.streams.video if one.disposition & av.stream.Disposition.attached_pic]
        for packet in container.demux(covers):
            if packet.size:
                found[packet.stream.metadata["filename"]] = bytes(packet)
        return found


@cache
def _png() -> bytes:
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 8, 8, "rgb24", Fraction(1)
    return b"".join(bytes(one) for one in [*encoder.encode(av.VideoFrame(8, 8, "rgb24")), *encoder.encode(None)])


def _one_second(container: Any) -> None:
    stream = container.add_stream("libx264", rate=24)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    for _ in range(24):
        container.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
    container.mux(stream.encode(None))


def test_a_film_that_starts_late_has_its_chapters_at_its_pictures(tmp_path: Path) -> None:
    """MPEG transport streams start at 1.4 seconds or anywhere; a copy starts at 0."""
    own = films.write_film(tmp_path / "a.ts", films.shots(FRAMES), films.Look(rate=24))
    for name in ("b.mp4", "b.mkv"):
        copy = tmp_path / name
        write_chapters(own, copy, [Chapter(Fraction(0), Fraction(2), "One"), Chapter(Fraction(2), Fraction(4), "Two")])
        assert len(packets(copy)[0]) == FRAMES
        assert abs(chapters(copy)[1][0] - frame_times(copy)[48]) <= Fraction(1, 1000)


def test_a_turned_picture_stays_turned(tmp_path: Path) -> None:
    own = film(tmp_path / "a.mp4", turned=90)
    for name in ("b.mp4", "b.mkv"):
        write_chapters(own, tmp_path / name, CHAPTERS)
        with av.open(str(tmp_path / name)) as container:
            assert next(container.decode(video=0)).rotation == 90


def refused(own: Path, copy: Path, given: Sequence[Chapter] = CHAPTERS) -> str:
    there = copy.read_bytes() if copy.exists() else None
    with pytest.raises((FeatureError, UnsupportedError)) as error:
        write_chapters(own, copy, given)
    assert (copy.read_bytes() if copy.exists() else None) == there
    assert [path.name for path in own.parent.iterdir() if path.name.startswith(".")] == []
    return str(error.value)


def test_what_cannot_be_copied_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    own = film(tmp_path / "a.mkv", lines=True)
    assert "stream 2 of" in (told := refused(own, tmp_path / "b.mp4"))
    assert "(subtitle subrip), got mp4" in told
    assert "expected one of .mkv, .mp4" in refused(own, tmp_path / "b.avi")
    assert "another file than the film itself" in refused(own, own)
    assert "got one at 100.000 s" in refused(own, tmp_path / "b.mkv", [Chapter(Fraction(100), Fraction(101), "Far")])
    (tmp_path / "c.mkv").write_text("no film")
    assert "expected a video file" in refused(tmp_path / "c.mkv", tmp_path / "b.mkv")


def test_a_disk_that_fills_leaves_nothing(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    own, copy = film(tmp_path / "a.mkv"), tmp_path / "b.mkv"
    copy.write_bytes(b"what was there")
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (own.stat().st_size // 2, limits[1]))
        with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
            write_chapters(own, copy, CHAPTERS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert copy.read_bytes() == b"what was there"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mkv", "b.mkv"]

"""Films as they should not be: each ends in a result or in one clear error."""

from __future__ import annotations

import itertools
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from films import HEIGHT, WIDTH, Look, Tone, beeps, flat, shots, write_film
from toy_measures import ALL

from megaseg.errors import FeatureError
from megaseg.media.measures import Recording
from megaseg.media.reading import probe, read_video
from megaseg.media.stills import stills
from megaseg.media.video import Video

CORPUS = Path(__file__).resolve().parents[1] / "fuzz" / "corpus"
QUARTERS = [40, 90, 140, 200]  # grey levels of a picture's corners, from the upper left one clockwise


def read(path: Path) -> Recording:
    recording = read_video(Video(path.stem, path), ALL, cache=None)
    assert (np.diff(recording.frame_ticks) > 0).all()
    return recording


def quarters(count: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> list[np.ndarray]:
    """Pictures whose corners differ."""
    rows, columns = size
    picture = np.empty((rows, columns, 3), np.uint8)
    upper, left = np.arange(rows)[:, None] < rows // 2, np.arange(columns) < columns // 2
    for level, place in zip(QUARTERS, [upper & left, upper & ~left, ~upper & ~left, ~upper & left], strict=True):
        picture[place] = level
    return [picture] * count


def luma(levels: list[int]) -> np.ndarray:
    """Luma, 16 to 235, of grey levels 0 to 255."""
    return 16 + np.array(levels) * 219 / 255


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 5000, b"INT. A ROOM - DAY\n" * 200, b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WAVE"]
)
def test_what_is_no_video_is_an_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    for reader in (probe, read):
        with pytest.raises(FeatureError, match=r"film\.mp4: expected a video (file|stream), got "):
            reader(path)


def test_a_folder_and_a_missing_file_are_errors(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match=r"expected a video file, got a folder"):
        probe(tmp_path)
    with pytest.raises(FeatureError, match=r"none\.mp4: expected a video file, got no such file"):
        read(tmp_path / "none.mp4")


@pytest.mark.parametrize("name", ["list.m3u8", "list.ffconcat", "film.mp4"])
def test_lists_of_other_files_are_not_followed(name: str, tmp_path: Path) -> None:
    write_film(tmp_path / "secret.ts", shots(24))
    path = tmp_path / name
    path.write_text(
        f"ffconcat version 1.0\nfile '{tmp_path}/secret.ts'\n"
        if name.endswith("concat")
        else f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path}/secret.ts\n#EXT-X-ENDLIST\n"
    )
    with pytest.raises(FeatureError, match="expected a video file"):
        read(path)


def test_sound_alone_is_an_error(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "song.mp4"), "w") as container:
        track = container.add_stream("aac", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(beeps(0.02), "fltp", "mono")
        frame.sample_rate = 48_000
        container.mux(track.encode(frame))
        container.mux(track.encode(None))
    with pytest.raises(FeatureError, match=r"song\.mp4: expected a video stream, got none"):
        read(tmp_path / "song.mp4")


def test_a_film_of_no_frames_is_an_error(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mkv", shots(3))
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"\x1f\x43\xb6\x75")])  # up to the first cluster
    with pytest.raises(FeatureError, match=r"film\.mkv: expected a video (file|with frames)"):
        read(path)


@pytest.mark.parametrize("count", [1, 2])
def test_a_film_of_one_frame_is_a_film(count: int, tmp_path: Path) -> None:
    recording = read(write_film(tmp_path / "film.mp4", shots(count)))
    assert recording.frames["levels"].shape == (count, 4)
    assert len(recording.picture_ticks) == 1
    assert recording.frame_ticks[-1] * recording.info.time_base == pytest.approx(Fraction(count, 24), rel=0.02)


@pytest.mark.parametrize("where", ["head", "middle", "tail"])
@pytest.mark.parametrize("ending", ["mkv", "ts", "avi", "mp4"])
def test_a_damaged_film_gives_what_is_left_or_an_error(ending: str, where: str, tmp_path: Path) -> None:
    path = write_film(tmp_path / f"film.{ending}", shots(96), Look(options={"g": "12"}), sound=[Tone(beeps(4))])
    data = np.frombuffer(path.read_bytes(), np.uint8).copy()
    begin = {"head": 0, "middle": len(data) // 2, "tail": len(data) - len(data) // 8}[where]
    data[begin : begin + len(data) // 8] = np.random.default_rng(1).integers(0, 256, len(data) // 8)
    path.write_bytes(data.tobytes())
    if (ending, where) in {("mp4", "head"), ("mp4", "tail"), ("mkv", "head"), ("avi", "head")}:
        with pytest.raises(FeatureError, match=f"film.{ending}: expected a video"):
            read(path)
    else:
        recording = read(path)
        assert 48 <= len(recording.frame_ticks) - 1 <= 96
        # Packets that a transport stream lost are not missed when they are a multiple of 16: its counter has four bits.
        assert recording.damaged or where != "middle" or ending in {"avi", "ts"}


def test_a_damaged_size_that_no_memory_holds_is_passed_over() -> None:
    recording = read(CORPUS / "video" / "size-beyond-memory")
    assert recording.damaged
    assert len(recording.frame_ticks) > 1


@pytest.mark.parametrize("ending", ["mkv", "ts", "avi"])
def test_a_film_that_was_cut_short_is_read_up_to_there(ending: str, tmp_path: Path) -> None:
    path = write_film(tmp_path / f"film.{ending}", shots(96), Look(options={"g": "12"}))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    recording = read(path)
    assert 30 <= len(recording.frame_ticks) <= 80
    assert recording.damaged or ending == "ts"  # the only one that says no length


def test_a_film_whose_index_was_never_written_is_an_error(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mp4", shots(48))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(FeatureError, match=r"film\.mp4: expected a video file"):
        read(path)


@pytest.mark.parametrize(
    ("stamps", "seconds"),
    [
        ([0] * 30, None),
        (range(-24, 24), 2),
        (range(1000, 1048), 2),
        ([*range(24), *range(24)], 2),
        ([*range(24), *range(86_400, 86_424)], 2),
    ],
    ids=["standing still", "negative", "late", "starts again", "jumps"],
)
def test_time_stamps_of_any_kind_increase(stamps: list[int], seconds: float | None, tmp_path: Path) -> None:
    path = raw_film(tmp_path / "film.ts", list(stamps))
    recording = read(path)
    ticks = recording.frame_ticks
    assert len(ticks) == len(stamps) + 1
    if seconds is not None:
        assert float((ticks[-1] - ticks[0]) * recording.info.time_base) == pytest.approx(seconds, abs=0.15)


def test_a_counter_that_wraps_goes_on(tmp_path: Path) -> None:
    """MPEG-TS counts 33 bits of 90 kHz: 26.5 hours."""
    path = raw_film(tmp_path / "film.ts", [(1 << 33) // 3750 - 24 + number for number in range(48)])
    ticks = read(path).frame_ticks
    assert len(ticks) == 49
    np.testing.assert_allclose(np.diff(ticks), 3750, atol=2000)
    assert ticks[-1] - ticks[0] == pytest.approx(48 * 3750, rel=0.03)


def raw_film(path: Path, stamps: list[int]) -> Path:
    """A film whose packets bear these time stamps, units of a 24th of a second, whatever a muxer thinks of them."""
    plain = path.with_suffix(".h264")
    look = Look(options={"bf": "0", "g": "12", "x264-params": "repeat-headers=1"})
    write_film(plain, shots(len(stamps)), look)
    packets = []
    with av.open(str(plain)) as source:
        packets = [bytes(packet) for packet in source.demux(video=0) if packet.size]
    path.write_bytes(b"".join(transport(packets, [stamp * 3750 for stamp in stamps])))
    return path


def transport(packets: list[bytes], stamps: list[int]) -> itertools.chain[bytes]:
    """An MPEG transport stream of one H.264 stream, with a time stamp for each packet."""
    pat = section(0, bytes.fromhex("0001c10000 0001e100"))
    pmt = section(2, bytes.fromhex("0001c10000 e101f000 1be101f000"))
    counters = {0: itertools.count(), 0x100: itertools.count(), 0x101: itertools.count()}
    tables = [(0, b"\0" + pat), (0x100, b"\0" + pmt)]
    bodies = [
        (0x101, b"\0\0\1\xe0\0\0\x80\x80\5" + time_stamp(stamp) + data)
        for data, stamp in zip(packets, stamps, strict=False)
    ]
    every = itertools.chain.from_iterable([*tables, body] for body in bodies)
    return itertools.chain.from_iterable(cells(kind, data, counters[kind]) for kind, data in every)


def section(table: int, body: bytes) -> bytes:
    """A table of a transport stream with its checksum."""
    head = bytes([table]) + (0xB000 | len(body) + 4).to_bytes(2, "big")
    crc = 0xFFFFFFFF
    for byte in head + body:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc & 1 << 31 else crc << 1) & 0xFFFFFFFF
    return head + body + crc.to_bytes(4, "big")


def time_stamp(stamp: int) -> bytes:
    """33 bits of a presentation time, as a packet's head has them."""
    stamp %= 1 << 33
    parts = [0x21 | stamp >> 29 & 0xE, stamp >> 22, stamp >> 14 | 1, stamp >> 7, stamp << 1 | 1]
    return bytes(part & 0xFF for part in parts)


def cells(kind: int, data: bytes, counter: itertools.count[int]) -> list[bytes]:
    """Packets of 188 bytes that carry ``data``."""
    out = []
    for begin in range(0, len(data), 184):
        block = data[begin : begin + 184]
        short = 184 - len(block)
        fill = b"" if not short else bytes([short - 1]) + (b"\0" + b"\xff" * (short - 2) if short > 1 else b"")
        first = (0x4000 if begin == 0 else 0) | kind
        out.append(
            b"G" + first.to_bytes(2, "big") + bytes([(0x30 if short else 0x10) | next(counter) % 16]) + fill + block
        )
    return out


@pytest.mark.parametrize("size", [(1, 1), (1, 64), (48, 1), (3, 5), (17, 31)])
def test_odd_sizes_are_read(size: tuple[int, int], tmp_path: Path) -> None:
    recording = read(write_film(tmp_path / "film.nut", flat([128] * 6, size), Look(codec="rawvideo")))
    np.testing.assert_allclose(recording.frames["corners"], 126, atol=2)
    np.testing.assert_allclose(recording.pictures["colours"], 128, atol=3)


def test_8k_is_read(tmp_path: Path) -> None:
    look = Look(codec="mpeg4", options={"qscale": "31"})
    recording = read(write_film(tmp_path / "film.mkv", quarters(1, (4320, 7680)), look))
    np.testing.assert_allclose(recording.frames["corners"][0], luma(QUARTERS), atol=3)


@pytest.mark.parametrize("rate", [Fraction(1), Fraction(240), Fraction(24_000, 1001)])
def test_every_frame_rate_has_pictures_twice_a_second_at_most_six(rate: Fraction, tmp_path: Path) -> None:
    count = int(3 * rate)
    recording = read(write_film(tmp_path / "film.mp4", shots(count, max(count // 9, 1)), Look(rate=rate)))
    seconds = recording.frame_ticks * float(recording.info.time_base)
    np.testing.assert_allclose(seconds, np.arange(count + 1) / float(rate), atol=1e-3)
    assert min(count, 6) <= len(recording.picture_ticks) <= 18


@pytest.mark.parametrize(
    ("codec", "kind"),
    [
        ("ffv1", "yuv420p10le"),
        ("ffv1", "yuv422p"),
        ("ffv1", "yuv444p16le"),
        ("ffv1", "yuv411p"),
        ("ffv1", "yuva420p"),
        ("ffv1", "gray"),
        ("ffv1", "gray10le"),
        ("ffv1", "bgra"),
        ("prores_ks", "yuv422p10le"),
        ("qtrle", "argb"),
        ("libx264", "nv12"),
        ("libx264", "yuv444p"),
        ("mjpeg", "yuvj420p"),
        ("rawvideo", "bgr24"),
        ("rawvideo", "nv12"),
        ("gif", "pal8"),
    ],
)
def test_every_format_of_pixels_gives_the_same_levels(codec: str, kind: str, tmp_path: Path) -> None:
    ending = {"gif": "gif", "qtrle": "mov", "prores_ks": "mov"}.get(codec, "avi" if codec == "rawvideo" else "mkv")
    stored = "rgb8" if codec == "gif" else kind
    recording = read(write_film(tmp_path / f"film.{ending}", quarters(4), Look(codec=codec, pix_fmt=stored)))
    coarse = 20 if codec == "gif" else 3
    np.testing.assert_allclose(recording.frames["corners"], [luma(QUARTERS)] * 4, atol=coarse)
    np.testing.assert_allclose(recording.frames["levels"][:, 1:3], 128, atol=coarse)
    np.testing.assert_allclose(recording.pictures["colours"], np.mean(QUARTERS), atol=coarse + 2)


@pytest.mark.parametrize("turned", [0, 90, 180, 270])
@pytest.mark.parametrize("kind", ["yuv420p", "yuv444p"])
def test_frames_and_pictures_are_turned_as_they_are_shown(turned: int, kind: str, tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mp4", quarters(4), Look(turned=turned, pix_fmt=kind))
    recording = read(path)
    assert recording.info.rotation == -turned % 360
    assert (recording.info.width > recording.info.height) == (turned % 180 == 0)
    shown = np.roll(QUARTERS, -turned // 90).tolist()  # counterclockwise: what was on the right is above
    np.testing.assert_allclose(recording.frames["corners"][0], luma(shown), atol=6)


def test_full_range_is_converted(tmp_path: Path) -> None:
    look = Look(codec="ffv1", colour={"color_range": 2})
    recording = read(write_film(tmp_path / "film.mkv", flat([0, 255] * 3), look))
    # The writer stores limited levels, 16 to 235, and calls them full: a reader has to believe the file.
    expected = luma([16, 235] * 3)
    np.testing.assert_allclose(recording.frames["corners"][:, 0], expected, atol=2)


@pytest.mark.parametrize("name", [b"fi:lm %d [x] $HOME \n.mkv", b"http:\xff.mkv", "fïlm 映画.mkv".encode(), b"-i.mkv"])
def test_names_are_only_names(name: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = write_film(tmp_path / "film.mkv", shots(6))
    path = plain.rename(tmp_path / os.fsdecode(name))
    assert len(read(path).frame_ticks) == 7
    monkeypatch.chdir(tmp_path)
    assert len(stills(Path(path.name), [0], 10)) == 1


@pytest.mark.parametrize("ending", ["mkv", "mp4", "avi"])
@pytest.mark.parametrize(("pictures", "sound"), [(96, 4), (96, 1), (24, 8)])
def test_a_whole_film_is_not_damaged(ending: str, pictures: int, sound: int, tmp_path: Path) -> None:
    path = write_film(tmp_path / f"film.{ending}", shots(pictures), sound=[Tone(beeps(sound))])
    assert not read(path).damaged


def test_messages_of_decoders_are_not_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_film(tmp_path / "film.ts", shots(48))
    path.write_bytes(path.read_bytes()[400:-300])
    read(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("ending", ["mkv", "mov"])
def test_the_first_frames_timecode_is_read(ending: str, tmp_path: Path) -> None:
    with av.open(tmp_path / f"film.{ending}", "w") as film:
        stream = film.add_stream("mpeg4", rate=25)
        stream.metadata["timecode"] = "01:02:03:04"  # which Matroska writes in capitals
        stream.width, stream.height = WIDTH, HEIGHT
        for picture in flat([50, 100]):
            film.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24" if picture.ndim == 3 else "gray")))
        film.mux(stream.encode(None))
    assert probe(tmp_path / f"film.{ending}").timecode == "01:02:03:04"

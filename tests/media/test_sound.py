"""Sound where its time stamps put it: late, with gaps, of many channels, of many tracks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from films import Look, Tone, beeps, shots, write_film
from numpy.typing import NDArray
from toy_measures import ALL, Loudness

from megaseg.media.measures import RATE, SOUND_ROW
from megaseg.media.reading import read_video
from megaseg.media.sound import BATCH, Rows
from megaseg.media.video import Video

LOUD = 0.3536  # of a sine of half the full scale


def loudness(path: Path) -> NDArray[np.float32]:
    return read_video(Video("film", path), ALL, cache=None).sound["loudness"][:, 0]


def rows(first: int = 0) -> Rows:
    return Rows([Loudness()], first)


def ones(seconds: float) -> NDArray[np.float32]:
    return np.ones(int(seconds * RATE), np.float32)


def values(placed: Rows, count: int) -> list[float]:
    placed.finish(count)
    return placed.values["loudness"].take(1000)[:, 0].round(3).tolist()


def test_samples_come_where_they_are_placed_and_gaps_are_silence() -> None:
    placed = rows()
    placed.write(SOUND_ROW, ones(0.5))
    placed.write(3 * SOUND_ROW, ones(0.25))
    assert values(placed, 5) == [0, 1, 0, pytest.approx(0.707), 0]


def test_what_is_settled_stays() -> None:
    placed = rows()
    placed.write(0, ones(1))
    placed.write(0, -2 * ones(0.5))
    placed.write(SOUND_ROW, -0.5 * ones(1))
    assert values(placed, 3) == [1, 1, 0.5]


def test_samples_before_the_film_are_left_out() -> None:
    placed = rows()
    placed.write(-SOUND_ROW, np.concatenate([ones(0.5), 0.25 * ones(0.5)]))
    assert values(placed, 1) == [0.25]


def test_batches_do_not_depend_on_how_samples_come() -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, int(2.5 * BATCH * SOUND_ROW)).astype(np.float32)
    whole, parts = rows(), rows()
    whole.write(0, samples)
    for begin in range(0, len(samples), 12_345):
        parts.write(begin, samples[begin : begin + 12_345])
    count = 5 * BATCH // 2
    assert values(whole, count) == values(parts, count)


@pytest.mark.parametrize("first", [1, BATCH - 1, BATCH, BATCH + 5])
def test_rows_before_the_first_that_is_wanted_are_passed_over(first: int) -> None:
    samples = np.repeat(np.arange(100, dtype=np.float32) / 100, SOUND_ROW)
    placed = rows(first)
    placed.write(0, samples)
    assert values(placed, 100) == pytest.approx((np.arange(first, 100) / 100).tolist(), abs=1e-3)


def test_noise_of_a_decoder_is_no_value() -> None:
    placed = rows()
    placed.write(0, np.array([np.nan, np.inf, -np.inf] * SOUND_ROW, np.float32))
    assert values(placed, 1) == [pytest.approx(np.sqrt(2 / 3), abs=1e-3)]


def test_sound_that_starts_late_is_silent_before(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mkv", shots(72), sound=[Tone(beeps(2), start=1.0)])
    np.testing.assert_allclose(loudness(path), [0, 0, LOUD, 0, LOUD, 0], atol=0.01)


def test_sound_that_ends_early_is_silent_after(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mkv", shots(72), sound=[Tone(beeps(1))])
    np.testing.assert_allclose(loudness(path), [LOUD, 0, 0, 0, 0, 0], atol=0.01)


def test_sound_that_is_longer_than_the_picture_ends_with_it(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mkv", shots(24), sound=[Tone(beeps(5))])
    np.testing.assert_allclose(loudness(path), [LOUD, 0], atol=0.01)


@pytest.mark.parametrize(("layout", "channels"), [("mono", 1), ("stereo", 2), ("quad", 4), ("5.1", 6)])
def test_channels_are_mixed_without_overflow(layout: str, channels: int, tmp_path: Path) -> None:
    tone = Tone(beeps(2, channels=channels), layout=layout, codec="flac")
    path = write_film(tmp_path / "film.mkv", shots(48), sound=[tone])
    np.testing.assert_allclose(loudness(path), [LOUD, 0, LOUD, 0], atol=0.01)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 96_000])
def test_every_rate_is_resampled(rate: int, tmp_path: Path) -> None:
    tone = Tone(beeps(2, rate=rate), rate=rate, codec="pcm_s16le")
    path = write_film(tmp_path / "film.mkv", shots(48), sound=[tone])
    np.testing.assert_allclose(loudness(path), [LOUD, 0, LOUD, 0], atol=0.01)


def test_of_twenty_tracks_the_default_one_is_read(tmp_path: Path) -> None:
    silence = np.zeros((1, 48_000), np.float32)
    tracks = [Tone(silence, codec="pcm_s16le", default=False) for _ in range(20)]
    tracks[13] = Tone(beeps(1), codec="pcm_s16le", language="eng")
    path = write_film(tmp_path / "film.mkv", shots(24), sound=tracks)
    np.testing.assert_allclose(loudness(path), [LOUD, 0], atol=0.01)


def test_pictures_and_sound_of_a_film_that_starts_later_stay_together(tmp_path: Path) -> None:
    look = Look(stamps=range(240, 312))
    path = write_film(tmp_path / "film.ts", shots(72), look, sound=[Tone(beeps(3), start=10.0)])
    np.testing.assert_allclose(loudness(path)[:6], [LOUD, 0] * 3, atol=0.12)

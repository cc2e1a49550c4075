"""Films as they should be: frames, times, pictures, sound and subtitles of one pass."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from films import Look, Tone, beeps, flat, shots, write_film
from toy_measures import ALL, Colours, Corners, Levels, Loudness, Wrong, spec

from megaseg.errors import FeatureError
from megaseg.media.container import frame_rate
from megaseg.media.measures import Measures, Recording
from megaseg.media.reading import probe, read_video
from megaseg.media.video import Track, Video, VideoInfo


def read(path: Path, measures: Measures = ALL) -> Recording:
    return read_video(Video(path.stem, path), measures, cache=None)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of six shots, beeps in every second half second, two subtitles."""
    path = tmp_path_factory.mktemp("films") / "film.mkv"
    lines = [(0.5, 1.5, "Is it <i>late</i>?"), (2.0, 3.0, "Not yet,\nnot here.")]
    return write_film(path, shots(72), sound=[Tone(beeps(3), language="eng")], lines=lines)


def test_what_a_file_says_of_itself(film: Path) -> None:
    info = probe(film)
    assert (info.width, info.height, info.rotation, info.codec) == (64, 48, 0, "h264")
    assert (info.time_base, info.start, info.frame_rate) == (Fraction(1, 1000), 0, 24)
    assert info.duration == pytest.approx(3, abs=0.05)
    assert info.audio == (Track("aac", "eng", read=True),)
    assert info.subtitles == (Track("subrip", None, read=True),)
    assert VideoInfo.from_json(info.to_json()) == info


def test_every_frame_is_measured_at_its_time(film: Path) -> None:
    recording = read(film)
    assert recording.info == probe(film)
    assert len(recording.frame_ticks) == 73
    np.testing.assert_allclose(recording.frame_ticks / 1000, np.arange(73) / 24, atol=0.003)
    levels = recording.frames["levels"]
    assert levels.shape == (72, 4)
    assert levels.dtype == np.float32
    changes = np.abs(np.diff(levels[:, :3], axis=0)).sum(1)
    assert {*np.argsort(changes)[-5:]} == {11, 23, 35, 47, 59}


def test_context_repeats_the_first_and_the_last_frame(film: Path) -> None:
    luma, _, _, around = read(film).frames["levels"].T
    padded = np.pad(luma.astype(np.float64), 2, mode="edge")
    np.testing.assert_allclose(around, np.convolve(padded, np.ones(5) / 5, "valid"), rtol=1e-5)


def test_pictures_come_twice_a_second_and_after_cuts(tmp_path: Path) -> None:
    recording = read(write_film(tmp_path / "film.mkv", flat([40] * 30 + [200] * 42)))
    np.testing.assert_allclose(recording.picture_ticks / 1000, [0, 0.5, 1, 34 / 24, 1.5, 2, 2.5], atol=0.002)
    expected = [[40] * 3] * 3 + [[200] * 3] * 4
    np.testing.assert_allclose(recording.pictures["colours"], expected, atol=4)


def test_sound_is_measured_in_half_seconds(film: Path) -> None:
    recording = read(film)
    assert recording.sound_ticks.tolist() == [[500 * row, 500 * row + 500] for row in range(6)]
    np.testing.assert_allclose(recording.sound["loudness"][:, 0], [0.354, 0] * 3, atol=0.01)


def test_subtitles_are_plain_text_with_times(film: Path) -> None:
    lines = [(line.start_ms, line.end_ms, line.text) for line in read(film).lines]
    assert lines == [(500, 1500, "Is it late?"), (2000, 3000, "Not yet,\nnot here.")]


def test_a_film_without_sound_has_no_rows_of_it(tmp_path: Path) -> None:
    recording = read(write_film(tmp_path / "mute.mp4", shots(24)))
    assert recording.sound_ticks.shape == (0, 2)
    assert recording.sound["loudness"].shape == (0, 1)


def test_variable_frame_rates_are_exact(tmp_path: Path) -> None:
    stamps = np.cumsum([0, 40, 40, 400, 10, 10, 1000, 33, 33, 34]).tolist()
    look = Look(time_base=Fraction(1, 1000), stamps=stamps)
    recording = read(write_film(tmp_path / "film.mkv", shots(10), look))
    assert recording.frame_ticks[:-1].tolist() == stamps


@pytest.mark.parametrize(
    ("average", "nominal", "expected"),
    [
        (Fraction(894_687_503, 37_278_646), Fraction(24), Fraction(24)),
        (Fraction(24_000, 1001), Fraction(24), Fraction(24_000, 1001)),
        (Fraction(17, 2), Fraction(60), Fraction(17, 2)),
        (None, Fraction(25), Fraction(25)),
        (None, None, None),
    ],
    ids=["rounded", "23.976", "variable", "one frame", "unknown"],
)
def test_frame_rates_are_nominal_where_times_are_rounded(
    average: Fraction | None, nominal: Fraction | None, expected: Fraction | None
) -> None:
    stream = SimpleNamespace(average_rate=average, base_rate=nominal, guessed_rate=nominal)
    assert frame_rate(stream) == expected


@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi", "ts", "mov", "flv"])
def test_ticks_are_from_the_start_of_the_presentation_in_every_format(ending: str, tmp_path: Path) -> None:
    path = write_film(tmp_path / f"film.{ending}", shots(48), sound=[Tone(beeps(2))])
    recording = read(path)
    seconds = recording.frame_ticks * float(recording.info.time_base)
    np.testing.assert_allclose(seconds - seconds[0], np.arange(49) / 24, atol=0.003)
    assert 0 <= seconds[0] < 0.15
    assert recording.sound["loudness"].shape[0] in (4, 5)


def test_progress_is_told_in_seconds(film: Path) -> None:
    told: list[tuple[float, float]] = []
    read_video(Video("film", film), ALL, cache=None, advance=lambda done, whole: told.append((done, whole)))
    assert told
    done = [seconds for seconds, _ in told]
    assert done == sorted(done)
    assert done[-1] <= 3


def test_what_is_not_asked_for_is_not_measured(film: Path) -> None:
    recording = read(film, Measures(frames=(spec(Levels),)))
    assert (recording.pictures, recording.sound, len(recording.sound_ticks)) == ({}, {}, 0)
    only = read(film, Measures(sound=(spec(Loudness),)))
    assert only.frames == {}
    np.testing.assert_array_equal(only.sound["loudness"], read(film).sound["loudness"])
    assert len(only.frame_ticks) == 73


@pytest.mark.parametrize(
    ("measures", "message"),
    [
        (Measures(frames=(spec(Levels, step=7),)), "a step that divides 6000, got 2 and 7"),
        (Measures(frames=(spec(Levels, context=65),)), "a context up to 64 frames"),
        (Measures(pictures=(spec(Colours), spec(Colours))), "expected one of each name, got colours, colours"),
        (Measures(frames=(spec(Wrong),)), "measure wrong: expected values of 60 frames, got 1"),
        (Measures(frames=(spec(Corners, size=3),)), "film.mkv: TypeError: .*takes no arguments"),
    ],
    ids=["step", "context", "names", "values", "options"],
)
def test_a_measure_that_does_not_fit_is_an_error(film: Path, measures: Measures, message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        read(film, measures)

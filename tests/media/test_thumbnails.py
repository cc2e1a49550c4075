"""Thumbnails: small pictures of every view, in the film's shape and of few bytes, and which of them a shot gets."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from films import Look, flat, shots, write_film

from megaseg.media.measures import Measures
from megaseg.media.parts import read_parts
from megaseg.media.reading import read_video
from megaseg.media.thumbnails import MOST, ThumbnailEncoder, Thumbnails, ThumbnailValues, thumbnail_size
from megaseg.media.video import Video


def opened(data: bytes) -> np.ndarray:
    with av.open(io.BytesIO(data)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def of_film(path: Path) -> Thumbnails:
    return read_video(Video("film", path), Measures(thumbnails=True), cache=None).thumbnails


def test_every_view_has_one_and_a_view_that_stays_one_a_second(tmp_path: Path) -> None:
    levels = [40] * 48 + [200] * 72 + [90] * 24
    found = of_film(write_film(tmp_path / "film.mkv", flat(levels)))
    shown = [opened(picture).mean() for picture in found.pictures]
    wanted = [levels[min(int(tick * 24 / 1000 + 0.5), 143)] for tick in found.ticks]
    np.testing.assert_allclose(shown, wanted, atol=6)
    assert {40, 200, 90} == {*wanted}
    assert 6 <= len(shown) <= 9
    assert (np.diff(found.ticks) > 0).all()


@pytest.mark.parametrize(("turned", "size"), [(0, (160, 120)), (90, (120, 160))])
def test_thumbnails_have_the_shape_of_the_film(turned: int, size: tuple[int, int], tmp_path: Path) -> None:
    found = of_film(write_film(tmp_path / "film.mp4", shots(30), Look(turned=turned)))
    assert (found.size, found.mime) == (size, "image/webp")
    assert {opened(picture).shape for picture in found.pictures} == {(size[1], size[0], 3)}


@pytest.mark.parametrize(("shape", "size"), [(16 / 9, (160, 90)), (2.39, (160, 66)), (0.5, (80, 160)), (99, (160, 16))])
def test_size_of_a_thumbnail(shape: float, size: tuple[int, int]) -> None:
    assert thumbnail_size(shape) == size


def test_no_picture_takes_more_bytes_than_a_report_has_room_for() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3)).astype(np.uint8)
    encoder = ThumbnailEncoder((160, 160))
    rough, smooth = encoder.encode(noise), encoder.encode(np.full_like(noise, 99))
    assert len(smooth) < len(rough) <= MOST
    assert encoder.encode(noise) == rough, "what was encoded before changes nothing"


def test_a_part_depends_on_itself_alone() -> None:
    pictures = [np.full((224, 224, 3), level, np.uint8) for level in (10, 12, 14, 90, 92, 94)]
    one, two = (ThumbnailValues((0, 0), Fraction(1, 1000)) for _ in range(2))
    for tick, picture in enumerate(pictures):
        one.push(picture, 100 * tick, 1.0)
        if tick == 1:
            one.close()
        if tick >= 2:
            two.push(picture, 100 * tick, 1.0)
    assert one.take(200).ticks.tolist() == [0]
    rest = one.take(10**6)
    assert rest.ticks.tolist() == [200, 300]
    assert rest.pictures == two.take(10**6).pictures


def test_a_shot_gets_the_picture_nearest_to_its_middle() -> None:
    found = Thumbnails(np.array([0, 400, 1000, 1900]), (b"a", b"b", b"c", b"d"), size=(160, 90))
    times = np.array([[0, 500], [0, 1000], [500, 1900], [1001, 1100], [1950, 9000], [0, 10_000]])
    assert found.of_shots(times) == [b"b", b"b", b"c", b"c", b"d", b"d"]
    assert Thumbnails.none().of_shots(times) == [b""] * 6


def test_a_pass_without_thumbnails_is_kept_apart(tmp_path: Path) -> None:
    film = Video("film", write_film(tmp_path / "film.mkv", shots(24)))
    cache = tmp_path / "cache"
    assert read_video(film, Measures(), cache=cache).thumbnails.pictures == ()
    assert read_video(film, Measures(thumbnails=True), cache=cache).thumbnails.pictures
    kept = {bool(part.thumbnails.pictures) for folder in cache.iterdir() for part in read_parts(folder)}
    assert kept == {False, True}

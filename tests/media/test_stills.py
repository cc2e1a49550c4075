"""Stills: the frame that is shown at a tick, in its shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from films import Look, flat, shots, write_film

from megaseg.errors import FeatureError
from megaseg.media.measures import Measures
from megaseg.media.reading import read_video
from megaseg.media.stills import stills
from megaseg.media.video import Video

LEVELS = list(range(10, 250, 5))  # grey of each of 48 frames


def level(picture: np.ndarray) -> int:
    assert picture.dtype == np.uint8
    return int(picture.mean())


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts", "avi"])
def test_stills_are_the_frames_shown_at_ticks(ending: str, tmp_path: Path) -> None:
    look = Look(options={"g": "10", "bf": "2", "x264-params": "open-gop=0"})
    path = write_film(tmp_path / f"film.{ending}", flat(LEVELS), look)
    frame_ticks = read_video(Video("film", path), Measures(), cache=None).frame_ticks
    wanted = [47, 0, 13, 12, 30, 13]
    ticks = [int(frame_ticks[number] + frame_ticks[number + 1]) // 2 for number in wanted]
    pictures = stills(path, ticks, 24)
    assert [picture.shape for picture in pictures] == [(24, 32, 3)] * 6
    np.testing.assert_allclose([level(picture) for picture in pictures], [LEVELS[number] for number in wanted], atol=4)


def test_ticks_outside_a_film_give_its_first_and_last_frame(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mp4", flat(LEVELS))
    first, last = stills(path, [-1000, 10**9], 10)
    assert (abs(level(first) - LEVELS[0]) <= 4, abs(level(last) - LEVELS[-1]) <= 4) == (True, True)


@pytest.mark.parametrize(("turned", "shape"), [(0, (30, 40, 3)), (90, (30, 22, 3))])
def test_stills_have_the_shape_of_the_film(turned: int, shape: tuple[int, ...], tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mp4", shots(2), Look(turned=turned))
    assert stills(path, [0], 30)[0].shape == shape


def test_no_ticks_give_no_stills(tmp_path: Path) -> None:
    assert stills(write_film(tmp_path / "film.mp4", shots(2)), [], 30) == []


def test_what_is_no_video_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"no film")
    with pytest.raises(FeatureError, match=r"film\.mp4: expected a video file"):
        stills(path, [0], 30)

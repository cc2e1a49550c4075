"""The default detector on drawn edits, and its measure in parts."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from small_frames import blend, flat, join, measured, still

from megaseg.errors import UnsupportedError
from megaseg.media.measures import SmallFrames
from megaseg.media.shots import DETECTORS, shot_detector
from megaseg.media.shots.adaptive import AdaptiveMeasure


def firsts(frames: SmallFrames) -> list[int]:
    detector = shot_detector("adaptive")
    shots = detector.shots(measured(detector.measure.make(), frames), np.arange(len(frames) + 1))
    assert shots.dtype == np.int64
    np.testing.assert_array_equal(shots[1:, 0], shots[:-1, 1] + 1)
    assert (shots[0, 0], shots[-1, 1]) == (0, len(frames) - 1)
    return shots[1:, 0].tolist()


def test_cuts_between_moving_pictures() -> None:
    assert firsts(join(still(1, 40, shift=2), still(2, 30), still(3, 25, shift=1))) == [40, 70]


def test_a_picture_that_moves_has_no_cut() -> None:
    assert firsts(still(1, 80, shift=4)) == []


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_flash_is_no_cut(length: int) -> None:
    picture = still(1, 30)
    assert firsts(join(picture, flat(235, length), picture)) == []


def test_a_cut_soon_after_a_flash_is_found() -> None:
    assert firsts(join(still(1, 30), flat(235, 1), still(1, 9), still(2, 30))) == [40]


@pytest.mark.parametrize("length", [12, 16, 24])
def test_a_dissolve_is_cut_in_its_middle(length: int) -> None:
    a, b = still(1, 50), still(2, 50)
    (first,) = firsts(join(a, blend(a, b, length), b))
    assert abs(first - (50 + length / 2)) <= 2


def test_a_fade_through_black_is_one_cut() -> None:
    a, b, black = still(1, 50), still(2, 50), flat(16, 20)
    (first,) = firsts(join(a, blend(a, black, 10), black, blend(black, b, 10), b))
    assert 60 <= first <= 80


def test_black_at_the_ends_is_no_cut_of_its_own() -> None:
    assert len(firsts(join(flat(16, 30), still(1, 50), flat(16, 30)))) == 2


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_short_films_are_one_shot(frames: int) -> None:
    assert firsts(still(1, frames)) == []


def test_no_frames_are_no_shots() -> None:
    assert shot_detector("adaptive").shots(np.empty((0, 7), np.float32), np.zeros(1, np.int64)).shape == (0, 2)


def test_values_do_not_depend_on_the_parts() -> None:
    frames = join(still(1, 130, shift=2), still(2, 123, shift=1))
    measure = AdaptiveMeasure()
    whole = measured(measure, frames)
    measure.step = 60
    np.testing.assert_array_equal(measured(measure, frames), whole)
    assert whole.shape == (len(frames), measure.width)
    assert 6000 % AdaptiveMeasure.step == 0


def test_values_of_a_known_cut() -> None:
    values = measured(AdaptiveMeasure(), join(flat(50, 20), flat(80, 20)))
    assert values[20, 0] == 30
    assert values[19, 0] == 0
    np.testing.assert_allclose(values[18:23, 1] * 3 / 2, [0, 0, 30, 0, 0])  # luma is two thirds of the block means
    np.testing.assert_allclose(values[18:23, 2] * 3 / 2, [0, 30, 30, 30, 0])
    np.testing.assert_array_equal(values[[0, 39], 5], [50, 80])


def test_detectors_go_to_a_child_process() -> None:
    for name in DETECTORS:
        detector = pickle.loads(pickle.dumps(shot_detector(name)))  # noqa: S301 - our own
        assert detector.name == name


def test_an_unknown_detector_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="expected one of adaptive, transnetv2"):
        shot_detector("magic")

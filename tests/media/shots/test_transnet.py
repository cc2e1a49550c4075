"""TransNetV2 by ONNX Runtime: known values, drawn edits, the film's ends."""

from __future__ import annotations

import numpy as np
import pytest
from small_frames import blend, flat, join, measured, still

from megaseg.media.measures import SmallFrames
from megaseg.media.shots.transnet import TransNetDetector, TransNetMeasure, small_rgb

pytest.importorskip("onnxruntime")

TORCH = [[0.0005, 0.0048], [0.9398, 0.8766], [0.0037, 0.0069], [0.0011, 0.9931], [0.4346, 0.9637], [0.0106, 0.978]]


@pytest.fixture(scope="module")
def detector() -> TransNetDetector:
    return TransNetDetector(num_threads=1)


def firsts(detector: TransNetDetector, frames: SmallFrames) -> list[int]:
    shots = detector.shots(measured(detector.measure.make(), frames), np.arange(len(frames) + 1))
    assert (shots[0, 0], shots[-1, 1]) == (0, len(frames) - 1)
    return shots[1:, 0].tolist()


def test_a_cut_and_a_dissolve_have_the_values_of_the_torch_model(detector: TransNetDetector) -> None:
    a, b, c = still(1, 25, shift=2), still(2, 30), still(3, 25)
    frames = join(a, b, blend(b, c, 10), c)
    cut, dissolve = firsts(detector, frames)
    assert cut == 25
    assert abs(dissolve - 60) <= 3
    values = measured(detector.measure.make(), frames)[[23, 24, 25, 58, 60, 62]]
    np.testing.assert_allclose(values, TORCH, atol=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 30, 101])
def test_films_of_any_length(detector: TransNetDetector, count: int) -> None:
    assert firsts(detector, still(1, count)) == []


def test_colours_of_known_frames() -> None:
    frames = join(flat(16, 1), flat(235, 1), flat(81, 1))
    frames.chroma[2] = np.array([90, 240]).reshape(2, 1, 1)  # red in BT.601
    assert small_rgb(frames).shape == (3, 27, 48, 3)
    np.testing.assert_array_equal(small_rgb(frames)[:, 5, 7], [[0, 0, 0], [255, 255, 255], [254, 0, 0]])


def test_points_are_means_of_blocks() -> None:
    frames = flat(16, 1)
    frames.luma[0, 4:8, 8:12] = [[16, 16, 16, 56]] * 4
    rgb = small_rgb(frames)[0, :, :, 0]
    assert rgb[1, 2] == round(10 * 255 / 219)
    assert np.count_nonzero(rgb) == 1


def test_ends_within_a_transition_are_cut_in_their_middle() -> None:
    values = np.zeros((30, 2), np.float32)
    values[[3, 10, 11, 12, 13, 14, 20, 24], 0] = 0.9
    values[19:26, 1] = 0.4
    shots = TransNetDetector().shots(values, np.arange(31))
    assert shots.tolist() == [[0, 3], [4, 12], [13, 22], [23, 29]]


def test_steps_fill_the_parts_of_a_film() -> None:
    assert 6000 % TransNetMeasure.step == 0

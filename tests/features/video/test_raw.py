"""Measures of a recording to raw features of shots: which frames, pictures and half seconds each shot owns."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from megaseg.features.video.raw import ShotTimes, raw_features
from megaseg.features.video.similarity import RAW
from megaseg.media.measures import Recording

TICK = Fraction(1, 1000)
NAMES = {"network": "visual", "mel": "audio", "move": "motion"}


def recording(pictures: dict[int, float], sound: list[tuple[int, int, float]], frames: int = 100) -> Recording:
    """100 frames of 40 ms; pictures by their tick, half seconds of sound by start and end."""
    return Recording(
        SimpleNamespace(time_base=TICK),
        40 * np.arange(frames + 1),
        {"move": np.arange(frames, dtype=np.float32)[:, None]},
        np.array([*pictures], np.int64),
        {"network": np.array([[value] for value in pictures.values()], np.float32).reshape(-1, 1)},
        np.array([row[:2] for row in sound], np.int64).reshape(-1, 2),
        {"mel": np.array([row[2:] for row in sound], np.float32).reshape(-1, 1)},
    )


def of(one: Recording, shots: list[tuple[int, int]], **given: NDArray[Any]) -> Any:
    return raw_features(one, ShotTimes.of(np.array(shots), one), NAMES, given)


def test_each_shot_owns_its_frames_pictures_and_the_sound_that_overlaps_it() -> None:
    one = recording({0: 1.0, 400: 3.0, 1000: 5.0}, [(0, 500, 1.0), (500, 1000, 2.0), (1000, 1500, 3.0)])

    found = of(one, [(0, 14), (15, 24), (25, 99)])

    np.testing.assert_array_equal(found.times, [[0, 600], [600, 1000], [1000, 4000]])
    assert (found.time_base, found.recipe) == (TICK, RAW)
    assert found.modalities["visual"][:, 0].tolist() == [2.0, 0.0, 5.0]  # the second has none
    assert found.modalities["audio"][:, 0].tolist() == [1.5, 2.0, 3.0]
    np.testing.assert_allclose(found.modalities["motion"][:, 0], [7, 19.5, 62], atol=0.1)
    assert {array.dtype for array in found.modalities.values()} == {np.dtype(np.float16)}


def test_what_is_not_there_is_no_modality() -> None:
    found = of(recording({0: 1.0}, []), [(0, 99)], dialogue=np.zeros((1, 4)))

    assert set(found.modalities) == {"visual", "motion"}


def test_what_is_given_is_taken_as_it_is() -> None:
    found = of(recording({0: 1.0}, []), [(0, 49), (50, 99)], dialogue=np.array([[0.5], [0.0]]))

    np.testing.assert_array_equal(found.modalities["dialogue"], [[0.5], [0.0]])


@pytest.mark.parametrize("seed", range(20))
def test_means_equal_those_that_are_taken_one_by_one(seed: int) -> None:
    random = np.random.default_rng(seed)
    pictures = {
        int(tick): float(random.normal()) for tick in np.unique(random.integers(0, 4000, random.integers(1, 60)))
    }
    sound = [(500 * k, 500 * k + 500, float(random.normal())) for k in range(random.integers(1, 8))]
    cuts = [0, *sorted(set(random.integers(1, 100, 9).tolist())), 100]
    shots = [(a, b - 1) for a, b in pairwise(cuts)]

    found = of(recording(pictures, sound), shots)

    for row, (first, last) in enumerate(shots):
        start, end = 40 * first, 40 * (last + 1)
        inside = [value for tick, value in pictures.items() if start <= tick < end]
        heard = [value for begin, stop, value in sound if begin < end and stop > start]
        assert found.modalities["visual"][row, 0] == np.float16(np.mean(inside) if inside else 0.0)
        assert found.modalities["audio"][row, 0] == np.float16(np.mean(heard) if heard else 0.0)

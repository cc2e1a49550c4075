"""Which frames become pictures."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from megaseg.media.selection import Selection

RATE = 24


def luma(level: int) -> np.ndarray:
    return np.full((108, 192), level, np.uint8)


def chosen(levels: list[int], rate: int = RATE) -> list[int]:
    selection = Selection(Fraction(1, rate))
    return [number for number, level in enumerate(levels) if selection.wants(luma(level), number)]


def test_a_still_film_has_a_picture_every_half_second() -> None:
    assert chosen([90] * 60) == [0, 12, 24, 36, 48]


def test_a_picture_follows_a_sudden_change() -> None:
    assert chosen([90] * 14 + [160] * 20) == [0, 12, 18, 24]


def test_slow_changes_are_no_cuts() -> None:
    assert chosen(list(range(0, 240, 10))) == [0, 12]


def test_flicker_gives_no_more_than_six_pictures_a_second() -> None:
    noise = np.random.default_rng(0).integers(0, 2, 10 * RATE) * 200
    pictures = chosen(noise.tolist())
    assert len(pictures) <= 60
    assert chosen(([0] * 6 + [200] * 6) * 20) == sorted([*range(0, 240, 12), *range(10, 240, 6)])


def test_slow_films_have_every_frame() -> None:
    assert chosen([90] * 5, rate=1) == [0, 1, 2, 3, 4]


def test_a_selection_goes_on_from_its_state() -> None:
    levels = np.random.default_rng(1).choice([20, 90, 200], 400, p=[0.1, 0.8, 0.1]).tolist()
    whole = chosen(levels)
    for cut in (13, 100, 101, 102, 103, 251):
        first = Selection(Fraction(1, RATE))
        begin = [number for number in range(cut) if first.wants(luma(levels[number]), number)]
        second = Selection(Fraction(1, RATE), first.state)
        second.show(luma(levels[cut - 1]))
        rest = [number for number in range(cut, 400) if second.wants(luma(levels[number]), number)]
        assert begin + rest == whole

"""Generated films of two themes, whose similarity and shared scenes are known."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from megaseg import Features

WIDTHS = {"picture": 12, "sound": 7}
RECIPE = "themed/1"


def theme_of(name: str) -> int:
    """The theme that a film's name ends with."""
    return int(name[-1])


def film(seed: int, theme: int, shots: int = 60) -> Features:
    """A film whose shots are noise and, four times as loud, what films of its theme have now and then.

    A theme is two directions, and each shot has one of the two or its opposite: means over a film tell nothing.
    """
    rng = np.random.default_rng(seed)
    modalities = {}
    for number, (name, width) in enumerate(WIDTHS.items()):
        directions = np.linalg.qr(np.random.default_rng(number).standard_normal((width, width)))[0]
        own = directions[2 * theme : 2 * theme + 2][rng.integers(0, 2, shots)] * rng.choice([-1, 1], (shots, 1))
        rows = 4 * own + rng.standard_normal((shots, width))
        modalities[name] = (10**number * rows + number).astype(np.float32)
    starts = np.arange(shots, dtype=np.int64) * (20 + seed)
    times = np.stack([starts, starts + 20 + seed], 1)
    return Features(modalities, times=times, time_base=Fraction(1, 24), recipe=RECIPE)


def films(count: int = 16, shots: int = 60) -> dict[str, Features]:
    """Films of both themes by turns, named by a number and the theme."""
    return {f"film{k:02d}-{k % 2}": film(k, k % 2, shots + k) for k in range(count)}


def planted(count: int = 8, scenes: int = 6, length: int = 9) -> dict[str, Features]:
    """Films that share scenes: scene s of any film is one of ``scenes`` subjects, in an order of the film's own.

    A subject is a direction; rows are that direction and a little noise, and labels mark the last shot of each scene.
    """
    subjects = np.linalg.qr(np.random.default_rng(9).standard_normal((16, 16)))[0][:scenes]
    made = {}
    for k in range(count):
        rng = np.random.default_rng(100 + k)
        order = rng.permutation(scenes)
        rows = np.repeat(subjects[order], length, 0) + 0.1 * rng.standard_normal((scenes * length, 16))
        labels = np.zeros(len(rows), np.uint8)
        labels[length - 1 :: length] = 1
        made[f"planted{k}"] = Features({"picture": rows.astype(np.float32)}, labels=labels, recipe=RECIPE)
    return made


def subjects_of(movie: Features, length: int = 9) -> np.ndarray:
    """The subject of each of the film's planted scenes."""
    subjects = np.linalg.qr(np.random.default_rng(9).standard_normal((16, 16)))[0]
    means = movie.modalities["picture"].reshape(-1, length, 16).mean(1)
    return np.argmax(means @ subjects.T, 1)

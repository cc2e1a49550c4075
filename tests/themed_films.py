"""Generated films of two themes, whose similarity and shared scenes are known."""

from __future__ import annotations

import dataclasses
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


BASIS = np.linalg.qr(np.random.default_rng(9).standard_normal((24, 24)))[0]  # of which the first are subjects


def planted(count: int = 8, subjects: int = 6) -> dict[str, Features]:
    """Films of six scenes of nine shots, each of another one of ``subjects``, in an order of the film's own.

    A subject is a direction; rows are that direction and a little noise, and labels mark the last shot of each scene.
    """
    made = {}
    for k in range(count):
        rng = np.random.default_rng(100 + k)
        order = rng.permutation(subjects)[:6]
        rows = np.repeat(BASIS[order], 9, 0) + 0.1 * rng.standard_normal((54, len(BASIS)))
        labels = np.zeros(len(rows), np.uint8)
        labels[8::9] = 1
        made[f"planted{k:02d}"] = Features({"picture": rows.astype(np.float32)}, labels=labels, recipe=RECIPE)
    return made


def subjects_of(movie: Features) -> list[int]:
    """The subject of each of the film's planted scenes."""
    means = movie.modalities["picture"].reshape(-1, 9, len(BASIS)).mean(1)
    found: list[int] = np.argmax(means @ BASIS.T, 1).tolist()
    return found


def noisy(movies: dict[str, Features], loud: float = 0.5) -> dict[str, Features]:
    """Planted films with what is the same in all shots of a film, about as loud as their subjects."""
    made = {}
    for k, (name, movie) in enumerate(movies.items()):
        own = loud * np.random.default_rng(k).standard_normal(6) @ BASIS[-6:]
        rows = movie.modalities["picture"] + own.astype(np.float32)
        made[name] = dataclasses.replace(movie, modalities={"picture": rows})
    return made

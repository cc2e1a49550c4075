"""Events of a clip as rows of its features: five equal parts of its time, two seconds each of VidSitu's ten."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.features import Features
from megaseg.training.recipes.head.vidsitu import EVENTS


def rows_of_events(film: Features) -> NDArray[np.bool_]:
    """Rows of each event, (5, shots): a shot is of every event that it overlaps; no event is without a shot.

    The parts are equal in time, from the start of the first shot to the last end. Without times, shots are equally
    long. An event that no shot overlaps (films with gaps) has the shot whose middle is nearest to its own.
    """
    starts, ends = _spans(film)
    total = int(ends.max())
    low, high = total * np.arange(EVENTS)[:, None], total * np.arange(1, EVENTS + 1)[:, None]  # in 1/5 ticks
    found: NDArray[np.bool_] = (EVENTS * starts < high) & (EVENTS * ends > low)
    for event in np.flatnonzero(~found.any(1)):
        away = np.abs(EVENTS * (starts + ends) - (low + high)[event])
        found[event, np.argmin(away)] = True
    return found


def _spans(film: Features) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Start and end of each shot in ticks since the first start."""
    if film.times is not None:
        times = film.times - film.times[0, 0]
        if times.max() > 0:
            return times[:, 0], times[:, 1]
    rows = np.arange(film.num_shots, dtype=np.int64)
    return rows, rows + 1

"""Events of a clip as rows of its features: five equal parts of its time, two seconds each of VidSitu's ten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from megaseg.training.recipes.head.films import Films
from megaseg.training.recipes.head.protocol import Drawing
from megaseg.training.recipes.head.vidsitu import EVENTS, Annotation, read_vidsitu
from megaseg.training.recipes.head.windows import film_windows

Clips = Mapping[str, Sequence[Annotation]]


def annotated(path: Path) -> dict[str, list[Annotation]]:
    """Annotations of a file in VidSitu's layout by clip, which is the name of the clip's feature file.

    Raises:
        FeatureError: as ``read_vidsitu``.
    """
    found: dict[str, list[Annotation]] = {}
    for annotation in read_vidsitu(path):
        found.setdefault(annotation.clip, []).append(annotation)
    return found


def clip_windows(films: Films, film: int, drawing: Drawing) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Windows of a clip, rows (w, length) with -1 behind the end, and 1 for each event's, (5, w, length), else 0."""
    begin, end = films.span(film)
    rows, own = film_windows(begin, end, drawing.length, drawing.step)
    events = rows_of_events(films.times[film], end - begin)
    return rows, (events[:, (rows - begin).clip(0)] & own).astype(np.int64)


def filled(parts: Sequence[NDArray[np.int64]], fill: int) -> Tensor:
    """Arrays (rows, columns) of different sizes as one tensor (parts, most rows, most columns)."""
    shape = [max(part.shape[axis] for part in parts) for axis in (0, 1)]
    whole = np.full((len(parts), *shape), fill, np.int64)
    for own, part in zip(whole, parts, strict=True):
        own[: part.shape[0], : part.shape[1]] = part
    return torch.from_numpy(whole)


def rows_of_events(times: NDArray[np.int64] | None, shots: int) -> NDArray[np.bool_]:
    """Rows of each event, (5, shots): a shot is of every event that it overlaps; no event is without a shot.

    The parts are equal in time, from the start of the first shot to the last end. Without times, shots are equally
    long. An event that no shot overlaps (films with gaps) has the shot whose middle is nearest to its own.

    Args:
        times: start and end of each shot in ticks (shots, 2), of any time base.
        shots: number of shots.
    """
    starts, ends = _spans(times, shots)
    total = int(ends.max())
    low, high = total * np.arange(EVENTS)[:, None], total * np.arange(1, EVENTS + 1)[:, None]  # in 1/5 ticks
    found: NDArray[np.bool_] = (EVENTS * starts < high) & (EVENTS * ends > low)
    for event in np.flatnonzero(~found.any(1)):
        away = np.abs(EVENTS * (starts + ends) - (low + high)[event])
        found[event, np.argmin(away)] = True
    return found


def _spans(times: NDArray[np.int64] | None, shots: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Start and end of each shot in ticks since the first start."""
    if times is not None:
        times = times - times[0, 0]
        if times.max() > 0:
            return times[:, 0], times[:, 1]
    rows = np.arange(shots, dtype=np.int64)
    return rows, rows + 1

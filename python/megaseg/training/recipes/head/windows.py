"""Sequences of whole films: the windows that the engine cuts, each row read from the one that it is nearest."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from megaseg.engine.graph.sequences import nearest, strided


def film_windows(begin: int, end: int, length: int, step: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Windows of the rows [begin, end) as the engine cuts them: rows (w, length), -1 behind the end, and each's own."""
    count = end - begin
    starts = strided(count, length, step)
    inside = starts[:, None] + np.arange(length)
    real = inside < count
    owner = nearest(count, length, starts)
    own = real & (owner[inside.clip(0, count - 1)] == np.arange(len(starts))[:, None])
    return np.where(real, begin + inside, -1), own


def drawn_windows(begin: int, end: int, length: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Windows of the rows [begin, end) one after the other from a random phase: (w, length), -1 behind the end.

    The first window, too, begins at a row of the film.
    """
    phase = int(rng.integers(length)) if end - begin > length else 0
    starts = np.arange(begin + phase, end, length)
    if phase:
        starts = np.append(begin, starts)
    rows = starts[:, None] + np.arange(length)
    return np.where(rows < end, rows, -1)


def filled(parts: list[NDArray[np.int64]], fill: int = -1) -> Tensor:
    """Arrays (sequences, length) of different sizes as one tensor (examples, most sequences, most length)."""
    shape = [max(part.shape[axis] for part in parts) for axis in (0, 1)]
    whole = np.full((len(parts), *shape), fill, np.int64)
    for own, part in zip(whole, parts, strict=True):
        own[: part.shape[0], : part.shape[1]] = part
    return torch.from_numpy(whole)

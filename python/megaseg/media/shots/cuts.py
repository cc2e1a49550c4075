"""Shots as a cover of a film: every frame belongs to one shot, and a gradual change is cut in its middle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def shots_between(cuts: NDArray[np.int64], frames: int) -> NDArray[np.int64]:
    """First and last frame (n, 2) of the shots of ``frames`` frames that begin at 0 and at ``cuts``, in any order."""
    firsts = np.unique(np.concatenate([[0], cuts[(cuts > 0) & (cuts < frames)]])).astype(np.int64)[: max(frames, 0)]
    return np.column_stack([firsts, np.append(firsts[1:], frames) - 1]) if frames else np.empty((0, 2), np.int64)


def runs(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """First index and end (n, 2) of each run of true values; ends are exclusive."""
    edges = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0))
    return edges.reshape(-1, 2).astype(np.int64)

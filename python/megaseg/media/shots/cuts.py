"""Shots as a cover of a film: every frame belongs to one shot, and a gradual change is cut in its middle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def shots_between(cuts: NDArray[np.int64], frames: int) -> NDArray[np.int64]:
    """First and last frame (n, 2) of the shots of ``frames`` frames that begin at 0 and at ``cuts``, in any order."""
    firsts = np.unique(np.concatenate([[0], cuts[(cuts > 0) & (cuts < frames)]])).astype(np.int64)[: max(frames, 0)]
    return np.column_stack([firsts, np.append(firsts[1:], frames) - 1]) if frames else np.empty((0, 2), np.int64)


def ended_before(shots: NDArray[np.int64], cuts: NDArray[np.int64], reach: int = 0) -> NDArray[np.int64]:
    """Shots (n, 2) of which some end right before the frames ``cuts``, in any order.

    Ends at most ``reach`` frames from a cut that is new give way to it, so that no shot between the two is left.
    """
    inside = (shots[:, :1] < cuts) & (cuts <= shots[:, 1:])
    new = np.unique(cuts[inside.any(0)])
    spans = [shots[0].tolist()] if len(shots) else []
    for first, last in shots[1:].tolist():
        gone = (np.abs(new - first) <= reach).any() and first not in cuts and first == spans[-1][1] + 1
        spans[-1:] = [[spans[-1][0], last]] if gone else [spans[-1], [first, last]]
    found = []
    for first, last in spans:
        begins = [first, *(cut for cut in new.tolist() if first < cut <= last)]
        found += list(zip(begins, [*(begin - 1 for begin in begins[1:]), last], strict=True))
    return np.array(found, np.int64).reshape(-1, 2)


def runs(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """First index and end (n, 2) of each run of true values; ends are exclusive."""
    edges = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0))
    return edges.reshape(-1, 2).astype(np.int64)

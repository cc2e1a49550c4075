"""Rhythm of shots and of speech about each cut; no labels are read.

Row i tells of shot i and of the cut after it. Lengths are logarithms, against the film's median.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]

_LEAST = 0.1  # seconds: no shot counts as shorter
_MANY = (2, 4, 8, 20)  # shots before and after, whose mean lengths have a column each
_SPAN = 0.15  # seconds that a line lasts beyond the cut from which it spans the cut
_LONGEST = 60.0  # seconds: no silence counts as longer
_NEVER = 1e9  # ms
_SHARES = (2.0, 6.0, 20.0, 60.0)  # seconds before and after, of which the share of speech has a column each
_LINES = (1, 2, 4, 8, 16, 32)  # lines before and after that are compared
_TIMES = (10.0, 30.0, 60.0, 120.0)  # seconds before and after, of which the lines are compared


def speech_rows(times: Rows, spans: Rows, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Modality ``speech`` (shots, ``SPEECH``): when people speak about each cut, and how alike what they say is.

    Args:
        times: start and end (shots, 2) of each shot in ms.
        spans: start and end (lines, 2) of each line in ms, in order of start.
        vectors: sentence vectors (lines, D) of the lines.
    """
    parts = [_silence(times, spans), _shares(times, spans), _cohesion(times[:, 1], spans, vectors)]
    return np.concatenate(parts, axis=1).astype(np.float32)


def rhythm_rows(times: Rows) -> NDArray[np.float32]:
    """Modality ``rhythm`` (shots, ``RHYTHM``) of start and end (shots, 2) of each shot in ms.

    The length, the film's median, mean lengths before and after the cut, the next length, the place in the film.
    """
    logs = np.log(np.maximum((times[:, 1] - times[:, 0]) / 1000, _LEAST))
    median = float(np.median(logs))
    apart, shots = logs - median, len(logs)
    sums, after = np.append(0.0, np.cumsum(apart)), np.arange(1, shots + 1)
    columns = [apart, np.full(shots, median)]
    for many in _MANY:
        low, high = np.maximum(after - many, 0), np.minimum(after + many, shots)
        columns += [(sums[after] - sums[low]) / (after - low), (sums[high] - sums[after]) / np.maximum(high - after, 1)]
    return np.column_stack([*columns, np.append(apart[1:], 0.0), (after - 0.5) / shots]).astype(np.float32)


def _silence(times: Rows, spans: Rows) -> Rows:
    """(shots, 6): silence before, after and across the cut as logarithms, whether a line spans it, the near parts."""
    if not len(spans):
        return np.zeros((len(times), 6))
    ends = times[:, 1]
    begun = np.searchsorted(spans[:, 0], ends)  # lines that begin before the cut
    latest = np.append(-_NEVER, np.maximum.accumulate(spans[:, 1]))
    before = (ends - latest[begun]) / 1000
    after = (np.append(spans[:, 0], _NEVER)[begun] - ends) / 1000
    across = np.where(before >= 0, _log(before + after), 0.0)
    near = [np.clip(silence, -1, 1) for silence in (before, after)]
    return np.column_stack([_log(before), _log(after), across, before < -_SPAN, *near])


def _log(seconds: Rows) -> Rows:
    return np.log1p(np.clip(seconds, 0, _LONGEST))


def _shares(times: Rows, spans: Rows) -> Rows:
    """(shots, 10): share of speech before and after the cut and in the shot, and how many lines begin in it."""
    if not len(spans):
        return np.zeros((len(times), 2 * len(_SHARES) + 2))
    begins, ends = times[:, 0], times[:, 1]
    fresh = spans[1:, 0] > np.maximum.accumulate(spans[:, 1])[:-1]  # starts of talk without a break
    starts = spans[np.append(True, fresh), 0]
    stops = np.maximum.accumulate(spans[:, 1])[np.append(fresh, True)]
    edges = np.stack([starts, stops], 1).reshape(-1)
    spoken = np.stack([np.append(0.0, np.cumsum(stops - starts)[:-1]), np.cumsum(stops - starts)], 1).reshape(-1)

    def share(low: Rows, high: Rows) -> Rows:
        return np.asarray(
            np.diff(np.interp(np.stack([low, high]), edges, spoken), axis=0)[0] / np.maximum(high - low, 1)
        )

    columns = [share(ends - 1000 * w, ends) for w in _SHARES] + [share(ends, ends + 1000 * w) for w in _SHARES]
    lines = np.searchsorted(spans[:, 0], ends) - np.searchsorted(spans[:, 0], begins)
    return np.column_stack([*columns, share(begins, ends), np.log1p(lines)])


def _cohesion(ends: Rows, spans: Rows, vectors: NDArray[np.float32]) -> Rows:
    """(shots, 10): cosines of the sums of the vectors before and after the cut, less the film's mean vector."""
    if not len(spans):
        return np.zeros((len(ends), len(_LINES) + len(_TIMES)))
    middles = np.maximum.accumulate(spans.mean(1))
    sums = np.concatenate([np.zeros((1, vectors.shape[1])), np.cumsum(vectors - vectors.mean(0), 0, dtype=np.float64)])
    cut, lines = np.searchsorted(middles, ends), len(spans)
    around = [(np.maximum(cut - k, 0), np.minimum(cut + k, lines)) for k in _LINES]
    around += [tuple(np.searchsorted(middles, ends + 1000 * way * w) for way in (-1, 1)) for w in _TIMES]  # type: ignore[misc]
    columns = []
    for low, high in around:
        before, after = sums[cut] - sums[low], sums[high] - sums[cut]
        norms = np.square(before).sum(1) * np.square(after).sum(1)
        columns.append((before * after).sum(1) / np.sqrt(norms + 1e-6))
    return np.column_stack(columns)


RHYTHM = 2 + 2 * len(_MANY) + 2
SPEECH = 6 + 2 * len(_SHARES) + 2 + len(_LINES) + len(_TIMES)

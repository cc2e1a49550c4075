"""The rhythm of shots around a gap: their lengths, the breaks between them, and what is there at all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from megaseg.features.video.groupings import Array
from megaseg.features.video.neighbours import HALF

_NEAR = 4  # shots on either side of the gap whose lengths have a column each
_MEANS = (2, 4, 8)  # shots on either side whose mean lengths are compared
_BREAKS = (-2, -1, 0, 1, 2)  # gaps, from this one, whose breaks have a column each
_ENDS = (4, 8)  # whether the film has so many shots on either side
_LEAST = 0.02  # seconds: no shot counts as shorter
_BREAK = 0.05  # seconds from which a break is one, such as a fade that belongs to no shot
_BRIEF = 0.1  # seconds: scale on which breaks differ


def rhythm_rows(
    times: NDArray[np.int64] | None, tick: float, there: NDArray[np.bool_], shots: range, gaps: range
) -> Array:
    """Rows (gaps, ``WIDTH``): 1, whether there are times, what is there of the film and the modalities, then times.

    Args:
        times: start and end (shots, 2) of each shot of ``shots`` in ticks of ``tick`` seconds, or None.
        there: whether each modality is there around each gap, (gaps, modalities).
        shots: numbers of the shots given, which are all that the film has around ``gaps``.
        gaps: numbers of the shots before each gap.
    """
    places = np.arange(gaps.start, gaps.stop)[:, None] + np.arange(1 - HALF, HALF + 1)  # (gaps, 2 K)
    seen = (places >= shots.start) & (places < shots.stop)
    ends = [seen[:, at] for near in _ENDS for at in (HALF - near, HALF - 1 + near)]
    known = np.column_stack([np.ones(len(gaps)), np.full(len(gaps), times is not None), *ends, there])
    if times is None:
        return np.pad(known, ((0, 0), (0, WIDTH - known.shape[1]))).astype(np.float32)
    places = places.clip(shots.start, shots.stop - 1) - shots.start
    lengths, breaks = (times[:, 1] - times[:, 0]) * tick, (times[1:, 0] - times[:-1, 1]) * tick
    columns = [*_lengths(lengths, places, seen), *_breaks(np.append(breaks, 0.0), places, seen)]
    return np.column_stack([known, *columns]).astype(np.float32)


def _lengths(lengths: NDArray[np.floating], places: NDArray[np.int64], seen: NDArray[np.bool_]) -> list[Array]:
    """Logarithms of lengths less their median around the gap, that median, and differences of means across the gap."""
    logs = np.log(np.maximum(lengths, _LEAST))[places]
    median = _median(logs, seen)
    apart = np.where(seen, logs - median[:, None], 0)
    columns = [apart[:, at] for at in range(HALF - _NEAR, HALF + _NEAR)]
    for many in _MEANS:
        before, after = apart[:, HALF - many : HALF].cumsum(1)[:, -1], apart[:, HALF : HALF + many].cumsum(1)[:, -1]
        columns.append((before - after) / many)
    return [*columns, median]


def _breaks(breaks: NDArray[np.floating], places: NDArray[np.int64], seen: NDArray[np.bool_]) -> list[Array]:
    """Time that belongs to no shot, beyond what is usual around the gap, such as fades."""
    given = breaks[places[:, :-1]]
    both = seen[:, :-1] & seen[:, 1:]
    beyond = np.where(both, (given - _median(given, both)[:, None]).clip(0), 0)
    logs = np.log1p(beyond / _BRIEF)
    usual = np.log1p(beyond.cumsum(1)[:, -1] / (2 * HALF - 1) / _BRIEF)
    columns = [logs[:, HALF - 1 + at] for at in _BREAKS]
    columns += [beyond[:, HALF - 1 + at] > _BREAK for at in (-1, 0, 1)]
    return [*columns, usual, logs[:, HALF - 1] - usual]


def _median(values: NDArray[np.floating], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Lower median of each row's seen values; 0 where none is seen."""
    ranked = np.sort(np.where(seen, values, np.inf), axis=1)
    middle = ranked[np.arange(len(ranked)), (seen.sum(1) - 1).clip(0) // 2]
    return np.where(np.isfinite(middle), middle, 0.0)


WIDTH = 2 + 2 * len(_ENDS) + 4 + 2 * _NEAR + len(_MEANS) + 1 + len(_BREAKS) + 3 + 2

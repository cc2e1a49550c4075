"""Boundaries of scenes against a reference, in seconds and, where shots are known, in shots."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from megaseg.errors import FeatureError
from megaseg.evaluation.boundaries import Boundaries
from megaseg.evaluation.metrics import TOLERANCES, Place, pairs_within

SECONDS = (Fraction(0), Fraction(1), Fraction(2), Fraction(5))  # tolerances
RESOLUTION = Fraction(1, 1000)  # seconds: most files write milliseconds, so that nearer times are the same
CHUNK = Fraction(6)  # seconds of a unit of Pk and WindowDiff, chunkseg's default


@dataclass(frozen=True, slots=True)
class Agreement:
    """Precision, recall and F1 of boundaries that are matched one to one, up to ``tolerance`` apart."""

    tolerance: float
    pairs: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class InTime:
    """How predicted boundaries agree with a reference.

    ``seconds`` and ``shots`` are by tolerance, empty where times or shots are not known; ``distance`` is the median
    over the reference of the seconds to the nearest predicted boundary, None without one. ``pk`` and ``window_diff``
    are error rates over chunks of ``CHUNK`` seconds, None where no file says how long the film is.
    """

    predicted: int
    reference: int
    seconds: tuple[Agreement, ...]
    shots: tuple[Agreement, ...]
    distance: float | None
    pk: float | None
    window_diff: float | None


def in_time(predicted: Boundaries, reference: Boundaries, tolerances: Sequence[Fraction] = SECONDS) -> InTime:
    """Compare boundaries of one film.

    Raises:
        FeatureError: neither times in both nor the same shots, or a tolerance below 0.
    """
    if min(tolerances, default=Fraction(0)) < 0:
        raise FeatureError(f"tolerance: expected 0 or more seconds, got {float(min(tolerances)):g}")
    found, true = predicted.seconds, reference.seconds
    shots = _in_shots(predicted, reference)
    of_shots = tuple(agreement(*shots, tolerance) for tolerance in TOLERANCES) if shots else ()
    if found is None or true is None:
        if not shots:
            raise FeatureError("times: expected two files with times, or two results of the same shots, got neither")
        return InTime(len(predicted.shots), len(reference.shots), (), of_shots, None, None, None)
    durations = [own for own in (predicted.duration, reference.duration) if own is not None]
    pk, window_diff = _windows(found, true, max(durations)) if durations else (None, None)
    return InTime(
        len(found),
        len(true),
        tuple(replace(agreement(found, true, own + RESOLUTION), tolerance=float(own)) for own in tolerances),
        of_shots,
        _distance(found, true),
        pk,
        window_diff,
    )


def agreement(found: Sequence[Place], true: Sequence[Place], tolerance: Place) -> Agreement:
    """Agreement of increasing places; without any on either side it is whole."""
    pairs = pairs_within(true, found, tolerance)
    if not found and not true:
        return Agreement(float(tolerance), 0, 1.0, 1.0, 1.0)
    precision, recall = pairs / max(1, len(found)), pairs / max(1, len(true))
    return Agreement(float(tolerance), pairs, precision, recall, 2 * pairs / (len(found) + len(true)))


def _in_shots(predicted: Boundaries, reference: Boundaries) -> tuple[Sequence[int], Sequence[int]] | None:
    """Both as shots of one of the results: the same shots, else those whose ends are nearest in time."""
    results = [own.result for own in (predicted, reference) if own.result is not None]
    if len(results) == 2 and results[0].num_shots == results[1].num_shots:
        return predicted.shots, reference.shots
    for result in results:
        if result.times is not None and result.time_base is not None and result.num_shots > 1:
            starts = [tick * result.time_base for tick in result.times[1:, 0].tolist()]
            own = [
                own.shots if own.result is result else _nearest(own.seconds, starts) for own in (predicted, reference)
            ]
            return None if own[0] is None or own[1] is None else (own[0], own[1])
    return None


def _nearest(seconds: Sequence[Fraction] | None, starts: Sequence[Fraction]) -> list[int] | None:
    """The shots before which a later one starts nearest to each time, each once."""
    if seconds is None:
        return None
    found = set()
    for time in seconds:
        after = min(bisect_left(starts, time), len(starts) - 1)
        found.add(after - (after > 0 and time - starts[after - 1] < starts[after] - time))
    return sorted(found)


def _distance(found: Sequence[Fraction], true: Sequence[Fraction]) -> float | None:
    if not found or not true:
        return None
    own = np.array([float(time) for time in found])
    return float(np.median([np.abs(own - float(time)).min() for time in true]))


def _windows(found: Sequence[Fraction], true: Sequence[Fraction], duration: Fraction) -> tuple[float, float]:
    """Pk (Beeferman et al. 1999) and WindowDiff (Pevzner and Hearst 2002), windows of half a mean part."""
    chunks = math.floor(duration / CHUNK)
    parts, own = (_parts(times, chunks) for times in (true, found))
    window = max(2, round(Fraction(chunks + 1, 2 * (int(parts[-1]) + 1))))
    if len(parts) <= window:
        return 0.0, 0.0
    between = [part[window:] - part[:-window] for part in (parts, own)]  # boundaries in each window
    pk = np.mean((between[0] == 0) != (between[1] == 0))
    return float(pk), float(np.mean(between[0] != between[1]))


def _parts(times: Sequence[Fraction], chunks: int) -> NDArray[np.int64]:
    """Number of boundaries before each of ``chunks`` + 1 units; a boundary ends the unit in whose chunk it lies."""
    marks = np.zeros(chunks, np.int64)
    for time in times:
        if chunks and time <= chunks * CHUNK:  # the rest is no whole chunk
            marks[min(math.floor(time / CHUNK), chunks - 1)] = 1
    return np.concatenate([[0], np.cumsum(marks)])

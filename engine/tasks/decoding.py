"""From scores to decisions: scene boundaries and turning points. Pure functions of arrays, no model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from megaseg.errors import FeatureError

Shots = NDArray[np.int64]
_LOCKED = 1e6  # what a locked boundary gains: more than all scores of a movie together


def softmax(logits: NDArray[np.floating], axis: int) -> NDArray[np.float64]:
    """Softmax in float64 (Eq. 7 with ``axis=0``: over shots, for each turning point)."""
    shifted = logits.astype(np.float64) - logits.max(axis=axis, keepdims=True)
    weights = np.exp(shifted)
    result: NDArray[np.float64] = weights / weights.sum(axis=axis, keepdims=True)
    return result


def check_choice(threshold: float, min_scene_length: int, num_scenes: int | None) -> None:
    """Raises FeatureError for what no movie allows: a threshold outside [0, 1], a length or a number below 1."""
    if not 0.0 <= threshold <= 1.0:
        raise FeatureError(f"threshold: expected a probability from 0 to 1, got {threshold}")
    if min_scene_length < 1:
        raise FeatureError(f"min_scene_length: expected at least 1 shot, got {min_scene_length}")
    if num_scenes is not None and num_scenes < 1:
        raise FeatureError(f"num_scenes: expected at least 1 scene, got {num_scenes}")


def check_edits(locked: Sequence[int], barred: Sequence[int]) -> None:
    """Raises FeatureError for a shot after which a scene both must and must not end."""
    if both := sorted(set(locked) & set(barred)):
        raise FeatureError(f"locked: expected shots that are not barred as well, got {', '.join(map(str, both[:9]))}")


def scene_boundaries(
    scores: NDArray[np.floating],
    *,
    threshold: float,
    min_scene_length: int = 1,
    num_scenes: int | None = None,
    locked: Sequence[int] = (),
    barred: Sequence[int] = (),
) -> Shots:
    """Shots after which a scene ends; the movie's own last shot is not among them.

    With ``num_scenes`` the best set of exactly that many scenes, else every boundary with a score of at least
    ``threshold``. Where ``min_scene_length`` forbids some of them, the allowed set with the largest sum of scores
    (above the threshold) is taken, by dynamic programming. Boundaries after ``locked`` shots are always in the answer,
    others keep ``min_scene_length`` to them, and ``barred`` shots end no scene.

    Raises:
        FeatureError: as ``check_choice`` and ``check_edits``, shots that the movie does not have, or more scenes than
            it can hold with these edits.
    """
    shots = len(scores)
    check_choice(threshold, min_scene_length, num_scenes)
    check_edits(locked, barred)
    fixed, free = _edits(shots, locked, barred)
    if num_scenes is None:
        return _by_threshold(scores.astype(np.float64), threshold, min_scene_length, fixed, free)
    if num_scenes * min_scene_length > max(shots, min_scene_length):
        raise FeatureError(
            f"num_scenes: expected 1 to {max(1, shots // min_scene_length)} scenes of at least {min_scene_length} "
            f"shots in a movie of {shots} shots, got {num_scenes}"
        )
    _check_locked(fixed, shots, num_scenes, min_scene_length)
    return _by_count(scores.astype(np.float64), num_scenes - 1, min_scene_length, fixed, free)


def _edits(shots: int, locked: Sequence[int], barred: Sequence[int]) -> tuple[Shots, NDArray[np.bool_]]:
    """Locked shots, increasing, and which shots (shots - 1,) are neither locked nor barred."""
    free = np.ones(max(0, shots - 1), np.bool_)
    for name, edits in (("locked", locked), ("barred", barred)):
        outside = next((shot for shot in edits if not 0 <= shot < shots - 1), None)
        if outside is not None:
            raise FeatureError(
                f"{name}: expected shots before the last of {shots}, from 0 to {shots - 2}, got {outside}"
            )
        free[np.asarray(edits, dtype=np.int64)] = False
    return np.unique(np.asarray(locked, dtype=np.int64)), free


def _check_locked(locked: Shots, shots: int, scenes: int, gap: int) -> None:
    """Check that an exact number of scenes of a least length can end after all locked shots."""
    if locked.size > scenes - 1:
        raise FeatureError(
            f"num_scenes: expected at least {locked.size + 1} scenes for {locked.size} locked boundaries, got {scenes}"
        )
    lengths = np.diff(np.concatenate([[-1], locked, [shots - 1]]))
    if locked.size and lengths.min() < gap:
        first = int(lengths.argmin())
        raise FeatureError(
            f"locked: expected scenes of at least {gap} shots between locked boundaries where num_scenes is given, "
            f"got {lengths[first]} up to shot {[*locked.tolist(), shots - 1][first]}"
        )


def _by_threshold(
    scores: NDArray[np.float64], threshold: float, gap: int, locked: Shots, free: NDArray[np.bool_]
) -> Shots:
    """Locked boundaries, and in each stretch between them (or the movie's ends) the best others."""
    candidates = np.flatnonzero((scores[:-1] >= threshold) & free)
    stops = np.concatenate([[-1], locked, [len(scores) - 1]])
    stretch = np.searchsorted(locked, candidates)
    # Too near a locked boundary or an end of the movie: no choice of others can mend that scene.
    far = (candidates - stops[stretch] >= gap) & (stops[stretch + 1] - candidates >= gap)
    candidates, stretch = candidates[far], stretch[far]
    if gap > 1 and candidates.size:
        parts = np.split(candidates, np.flatnonzero(np.diff(stretch)) + 1)
        candidates = np.concatenate([_best_apart(scores, part, threshold, gap) for part in parts])
    return np.union1d(locked, candidates)


def _best_apart(scores: NDArray[np.float64], candidates: Shots, threshold: float, gap: int) -> Shots:
    """Candidates at least ``gap`` apart with the largest sum of scores above the threshold."""
    # best[k]: largest gain over the first k candidates; a boundary at the threshold itself still counts a little.
    gains = scores[candidates] - threshold + 1e-12
    before = np.searchsorted(candidates, candidates - gap, side="right")
    best = np.zeros(candidates.size + 1)
    for k, gain in enumerate(gains):
        best[k + 1] = max(best[k], best[before[k]] + gain)
    chosen, k = [], candidates.size
    while k:
        if best[k] > best[k - 1]:
            chosen.append(candidates[k - 1])
            k = int(before[k - 1])
        else:
            k -= 1
    return np.array(chosen[::-1], dtype=np.int64)


def _by_count(scores: NDArray[np.float64], count: int, gap: int, locked: Shots, free: NDArray[np.bool_]) -> Shots:
    gains = np.where(free, scores[:-1], -np.inf)
    for shot in locked:
        gains[max(0, shot - gap + 1) : shot + gap] = -np.inf
    gains[locked] = scores[locked] + _LOCKED
    first, last = gap - 1, len(scores) - 1 - gap
    if count > (most := _most_apart(np.flatnonzero(gains[: last + 1] > -np.inf), gap, first)):
        raise FeatureError(
            f"num_scenes: expected at most {most + 1} scenes, for which locked and barred boundaries leave room, "
            f"got {count + 1}"
        )
    if gap > 1:
        return _best_increasing(np.tile(gains[:, None], (1, count)), gap, first=first, last=last)
    order = np.argsort(-scores[:-1], kind="stable")
    return np.union1d(locked, order[free[order]][: count - locked.size])


def _most_apart(rows: Shots, gap: int, first: int) -> int:
    """How many of increasing rows, from ``first`` on, can be at least ``gap`` apart."""
    found, least = 0, first
    for row in rows.tolist():
        if row >= least:
            found, least = found + 1, row + gap
    return found


def turning_points(logits: NDArray[np.floating], *, ordered: bool = False) -> Shots:
    """The shot of each turning point: arg-max over shots of (shots, N_c), or the best strictly increasing assignment.

    ``logits`` may be log-probabilities as well: a constant for each turning point changes no decision. ``ordered``
    maximises the sum of log-probabilities by dynamic programming in O(shots N_c), leaving out the movie's last shot:
    N_c turning points then always bound N_c + 1 acts. A shot of -inf, which has no probability, is the last resort.

    Raises:
        FeatureError: ``ordered``, and fewer shots than acts.
    """
    if not ordered:
        return np.asarray(logits.argmax(axis=0), dtype=np.int64)
    shots, classes = logits.shape
    if not can_order(logits):
        raise FeatureError(f"ordered: expected at least {classes + 1} shots for {classes + 1} acts, got {shots}")
    return _best_increasing(_gains(logits), 1, first=0, last=shots - 2)


def can_order(logits: NDArray[np.floating]) -> bool:
    """Whether (shots, N_c) has a shot for each of the N_c + 1 acts."""
    shots, classes = logits.shape
    return bool(shots > classes)


def _gains(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Nats below each turning point's maximum; -inf as less than the sum of any others, so that sums stay finite."""
    possible = logits > -np.inf
    peaks = logits.max(axis=0)
    nats = np.where(possible, logits, 0).astype(np.float64) - np.where(peaks > -np.inf, peaks, 0)
    worst = np.where(possible, nats, 0).min(axis=0).sum() - 1
    return np.where(possible, nats, worst)


def _best_increasing(gains: NDArray[np.float64], gap: int, *, first: int, last: int) -> Shots:
    """Rows r_0 < r_1 < ... (at least ``gap`` apart, within first..last) that maximise sum_k gains[r_k, k]."""
    rows, count = gains.shape
    value = np.full((rows, count), -np.inf)
    for k in range(count):
        reach = np.zeros(rows)
        if k:
            # Best of the previous pick over rows <= r - gap.
            prefix = np.maximum.accumulate(value[:, k - 1])
            reach = np.full(rows, -np.inf)
            reach[gap:] = prefix[: rows - gap]
        value[first : last + 1, k] = (reach + gains[:, k])[first : last + 1]
    picks, end = np.empty(count, dtype=np.int64), rows
    for k in range(count - 1, -1, -1):
        picks[k] = int(np.argmax(value[:end, k]))
        end = max(int(picks[k]) - gap + 1, 0)
    return picks

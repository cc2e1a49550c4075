"""From scores to decisions: scene boundaries and turning points. Pure functions of arrays, no model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from megaseg.errors import FeatureError

Shots = NDArray[np.int64]


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


def scene_boundaries(
    scores: NDArray[np.floating],
    *,
    threshold: float,
    min_scene_length: int = 1,
    num_scenes: int | None = None,
) -> Shots:
    """Shots after which a scene ends; the movie's own last shot is not among them.

    With ``num_scenes`` the best set of exactly that many scenes, else every boundary with a score of at least
    ``threshold``. Where ``min_scene_length`` forbids some of them, the allowed set with the largest sum of scores
    (above the threshold) is taken, by dynamic programming.

    Raises:
        FeatureError: as ``check_choice``, or more scenes than the movie can hold.
    """
    shots = len(scores)
    check_choice(threshold, min_scene_length, num_scenes)
    if num_scenes is None:
        return _by_threshold(scores.astype(np.float64), threshold, min_scene_length)
    if num_scenes * min_scene_length > max(shots, min_scene_length):
        raise FeatureError(
            f"num_scenes: expected 1 to {max(1, shots // min_scene_length)} scenes of at least {min_scene_length} "
            f"shots in a movie of {shots} shots, got {num_scenes}"
        )
    return _by_count(scores.astype(np.float64), num_scenes - 1, min_scene_length)


def _by_threshold(scores: NDArray[np.float64], threshold: float, gap: int) -> Shots:
    candidates = np.flatnonzero(scores[:-1] >= threshold)
    # A first or last scene that is too short cannot be mended by any choice.
    candidates = candidates[(candidates + 1 >= gap) & (len(scores) - 1 - candidates >= gap)]
    if gap == 1 or candidates.size == 0:
        return candidates
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


def _by_count(scores: NDArray[np.float64], count: int, gap: int) -> Shots:
    if gap == 1:
        strongest = np.argsort(-scores[:-1], kind="stable")[:count]
        return np.sort(strongest).astype(np.int64)
    return _best_increasing(np.tile(scores[:-1, None], (1, count)), gap, first=gap - 1, last=len(scores) - 1 - gap)


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

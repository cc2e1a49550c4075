"""Metrics of scene segmentation in the definitions of BaSSL and LGSS. A movie's last shot is never scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from megaseg.errors import FeatureError

TOLERANCES = (0, 1, 2)  # shots
Place = TypeVar("Place", int, Fraction)  # a shot, or seconds


@dataclass(frozen=True, slots=True)
class SceneMetrics:
    """Figures of a scene model over ``movies`` movies, each figure in [0, 1].

    ``ap`` and the F1 figures pool the shots of all movies; ``map`` and ``miou`` are means over movies. ``f1`` and
    ``miou`` are those at ``threshold``, ``f1_at_half`` is F1 at the paper's threshold of 0.5. ``f1_at`` are means over
    movies at ``threshold`` of F1 at a tolerance in shots (``f1_within``), by its text, of ``TOLERANCES``.
    """

    movies: int
    shots: int
    boundaries: int
    ap: float
    map: float
    f1: float
    precision: float
    recall: float
    f1_at_half: float
    miou: float
    threshold: float
    f1_at: dict[str, float] = field(default_factory=dict)


def scene_metrics(
    labels: Mapping[str, NDArray[np.uint8]], scores: Mapping[str, NDArray[np.float32]], threshold: float
) -> SceneMetrics:
    """Score P(boundary) of each movie, (shots,), against its labels, (shots,), 1 = last shot of its scene.

    Raises:
        FeatureError: no movie, or none with a boundary before its last shot.
    """
    names = [name for name in labels if len(labels[name]) > 1]
    if not any(labels[name][:-1].any() for name in names):
        raise FeatureError("evaluation: expected a labelled movie with at least one boundary, got none")
    truth = np.concatenate([labels[name][:-1] for name in names])
    scores = {name: scores[name].astype(np.float64) for name in names}  # as segment compares them with a threshold
    score = np.concatenate([scores[name][:-1] for name in names])
    bounded = [name for name in names if labels[name][:-1].any()]
    per_movie = [average_precision(labels[n][:-1], scores[n][:-1]) for n in bounded]
    found = {name: scores[name] >= threshold for name in names}
    f1_at = {str(t): float(np.mean([f1_within(labels[n], found[n], t) for n in bounded])) for t in TOLERANCES}
    precision, recall, f1 = _precision_recall_f1(truth, score >= threshold)
    return SceneMetrics(
        movies=len(names),
        shots=len(truth),
        boundaries=int(truth.sum()),
        ap=average_precision(truth, score),
        map=float(np.mean(per_movie)),
        f1=f1,
        precision=precision,
        recall=recall,
        f1_at_half=_precision_recall_f1(truth, score >= 0.5)[2],
        miou=float(np.mean([mean_iou(labels[name], found[name]) for name in names])),
        threshold=threshold,
        f1_at=f1_at,
    )


def average_precision(truth: ArrayLike, scores: ArrayLike) -> float:
    """Area under the precision-recall steps: precision at each score, weighted by the recall that it adds.

    Items of equal scores count together, as in scikit-learn's ``average_precision_score``. 0 without a true item.
    """
    truth, scores = np.asarray(truth).astype(bool), np.asarray(scores, np.float64)
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # of the items of a score
    hits = np.cumsum(truth[order])[last]
    precision = hits / (np.flatnonzero(last) + 1)
    return float(np.sum(precision * np.diff(hits, prepend=0)) / max(1, truth.sum()))


def area_under_roc(truth: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve: how often a true one scores above a false one, of equal scores half.

    Raises:
        FeatureError: none that is true, or none that is false.
    """
    true, values = np.asarray(truth, bool), np.asarray(scores, np.float64)
    count = int(true.sum())
    if not 0 < count < true.size:
        raise FeatureError(f"auc: expected some that are true and some that are not, got {count} of {true.size}")
    _, places, sizes = np.unique(values, return_inverse=True, return_counts=True)
    ranks = np.cumsum(sizes) - (sizes - 1) / 2  # from 1, of equal scores their mean
    return float((ranks[places][true].sum() - count * (count + 1) / 2) / (count * (true.size - count)))


def _precision_recall_f1(truth: NDArray[np.uint8], found: NDArray[np.bool_]) -> tuple[float, float, float]:
    hits, expected, claimed = int((truth.astype(bool) & found).sum()), int(truth.sum()), int(found.sum())
    return hits / max(1, claimed), hits / max(1, expected), 2 * hits / max(1, expected + claimed)


def f1_within(labels: ArrayLike, boundaries: ArrayLike, tolerance: int) -> float:
    """F1 of boundaries of one movie, each matched with at most one true boundary up to ``tolerance`` shots away.

    Both arguments mark the last shot of each scene, (shots,); of all such matchings the largest counts. The movie's
    last shot is not scored.
    """
    true, found = (np.flatnonzero(np.asarray(marks)[:-1]).tolist() for marks in (labels, boundaries))
    return 2 * pairs_within(true, found, tolerance) / max(1, len(true) + len(found))


def pairs_within(true: Sequence[Place], found: Sequence[Place], tolerance: Place) -> int:
    """Size of a largest matching of increasing places, each in at most one pair, that are up to ``tolerance`` apart."""
    pairs = i = j = 0
    while i < len(true) and j < len(found):  # both rise, so that the first pair that fits is in a largest matching
        if abs(true[i] - found[j]) <= tolerance:
            pairs, i, j = pairs + 1, i + 1, j + 1
        elif true[i] < found[j]:
            i += 1
        else:
            j += 1
    return pairs


def best_threshold(truth: NDArray[np.uint8], scores: NDArray[np.float32]) -> float:
    """The threshold of highest F1, half-way between neighbouring scores; in (0, 1) for float32 scores in [0, 1].

    A score of 0 is below every such threshold, whatever its label.

    Raises:
        FeatureError: no shot or no boundary to choose by.
    """
    if not truth.any():
        raise FeatureError("threshold: expected labels with at least one boundary, got none")
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order].astype(np.float64)
    claimed = np.arange(1, len(ranked) + 1)
    f1 = 2 * np.cumsum(truth[order]) / (claimed + truth.sum())
    following = np.append(ranked[1:], 0.0)
    f1[ranked == following] = -1  # no threshold lies between equal scores
    best = int(np.argmax(f1))
    return float(ranked[best] + following[best]) / 2 or 0.5  # where every score is 0, any threshold finds nothing


def mean_iou(labels: ArrayLike, boundaries: ArrayLike) -> float:
    """Mean best intersection over union of true with predicted scenes, averaged with that of predicted with true ones.

    Both arguments mark the last shot of each scene, (shots,); the movie's last shot ends a scene, marked or not.
    """
    true, found = _edges(labels), _edges(boundaries)
    starts = np.maximum(true[:-1, None], found[None, :-1])
    ends = np.minimum(true[1:, None], found[None, 1:])
    overlap = np.maximum(ends - starts, 0)
    sizes = np.diff(true)[:, None] + np.diff(found)[None, :]
    iou = overlap / (sizes - overlap)  # [true scenes, predicted scenes]
    return float((iou.max(1).mean() + iou.max(0).mean()) / 2)


def _edges(last: ArrayLike) -> NDArray[np.int64]:
    """First shot of each scene and, at the end, the number of shots, from marks of last shots."""
    marks = np.asarray(last).astype(bool)
    inner = np.flatnonzero(marks[:-1]) + 1
    return np.concatenate([[0], inner, [len(marks)]]).astype(np.int64)

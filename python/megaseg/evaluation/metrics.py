"""Metrics of scene segmentation in the definitions of BaSSL and LGSS. A movie's last shot is never scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from megaseg.errors import FeatureError, UnsupportedError


@dataclass(frozen=True, slots=True)
class SceneMetrics:
    """Figures of a scene model over ``movies`` movies, each figure in [0, 1].

    ``ap`` and the F1 figures pool the shots of all movies; ``map`` and ``miou`` are means over movies. ``f1`` and
    ``miou`` are those at ``threshold``, ``f1_at_half`` is F1 at the paper's threshold of 0.5.
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


def scene_metrics(
    labels: Mapping[str, NDArray[np.uint8]], scores: Mapping[str, NDArray[np.float32]], threshold: float
) -> SceneMetrics:
    """Score P(boundary) of each movie, (shots,), against its labels, (shots,), 1 = last shot of its scene.

    Raises:
        FeatureError: no movie, or none with a boundary before its last shot.
        UnsupportedError: scikit-learn is not installed.
    """
    names = [name for name in labels if len(labels[name]) > 1]
    if not any(labels[name][:-1].any() for name in names):
        raise FeatureError("evaluation: expected a labelled movie with at least one boundary, got none")
    truth = np.concatenate([labels[name][:-1] for name in names])
    scores = {name: scores[name].astype(np.float64) for name in names}  # as segment compares them with a threshold
    score = np.concatenate([scores[name][:-1] for name in names])
    per_movie = [average_precision(labels[n][:-1], scores[n][:-1]) for n in names if labels[n][:-1].any()]
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
        miou=float(np.mean([mean_iou(labels[name], scores[name] >= threshold) for name in names])),
        threshold=threshold,
    )


def average_precision(truth: ArrayLike, scores: ArrayLike) -> float:
    """Area under the precision-recall steps, scikit-learn's definition."""
    try:
        from sklearn.metrics import average_precision_score
    except ImportError as error:
        raise UnsupportedError("evaluation needs scikit-learn: pip install 'megaseg[train]'") from error
    return float(average_precision_score(truth, scores))


def _precision_recall_f1(truth: NDArray[np.uint8], found: NDArray[np.bool_]) -> tuple[float, float, float]:
    hits, expected, claimed = int((truth.astype(bool) & found).sum()), int(truth.sum()), int(found.sum())
    return hits / max(1, claimed), hits / max(1, expected), 2 * hits / max(1, expected + claimed)


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

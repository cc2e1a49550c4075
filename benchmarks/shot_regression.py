"""Logistic regression on a film's shots: what a scene model of films is measured against, in the same folds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.features import Features

NEAR = 5  # shots on either side of a gap
_POOLED = (2, 3, 5)
_LENGTHS, _BREAKS = range(-3, 5), range(-2, 3)


def regression_scores(
    train: Mapping[str, Features], test: Mapping[str, Features], strength: float = 0.003
) -> dict[str, NDArray[np.float32]]:
    """P(boundary) (shots,) of the films of ``test``, fitted on those of ``train``."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=500))
    labels = [film.labels[:-1] for film in train.values() if film.labels is not None]
    model.fit(np.concatenate([columns(film)[:-1] for film in train.values()]), np.concatenate(labels))
    return {name: model.predict_proba(columns(film))[:, 1].astype(np.float32) for name, film in test.items()}


def columns(film: Features) -> NDArray[np.float64]:
    """Similarities across each gap, within the film's own range, and lengths of shots and breaks."""
    found = [column for array in film.modalities.values() for column in _similarities(array)]
    if film.times is not None and film.time_base is not None:
        seconds = film.times * float(film.time_base)
        logs = np.log((seconds[:, 1] - seconds[:, 0]).clip(0.02))
        breaks = np.log1p(10 * np.append(seconds[1:, 0] - seconds[:-1, 1], 0).clip(0))
        found += [_shifted(logs - np.median(logs), by) for by in _LENGTHS] + [_shifted(breaks, by) for by in _BREAKS]
    return np.stack(found, axis=1)


def _similarities(array: NDArray[np.floating]) -> list[NDArray[np.float64]]:
    own = array.astype(np.float64)
    own /= np.linalg.norm(own, axis=1, keepdims=True).clip(1e-9)
    shots, found = np.arange(len(own)), []
    for rows in (own, own - own.mean(0)):
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-9)
        every = unit @ unit.T
        every = (every - every.mean()) / (every.std() + 1e-9)
        before = [(shots - at).clip(0) for at in range(NEAR)]
        after = [(shots + 1 + at).clip(0, len(own) - 1) for at in range(NEAR)]
        across = np.array([[every[a, b] for b in after] for a in before])
        found += [*across.reshape(NEAR * NEAR, -1)]
        found += [pool(across[:k, :k], axis=(0, 1)) for k in _POOLED for pool in (np.mean, np.max)]
    return found


def _shifted(values: NDArray[np.float64], by: int) -> NDArray[np.float64]:
    return values[(np.arange(len(values)) + by).clip(0, len(values) - 1)]

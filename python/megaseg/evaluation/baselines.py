"""Logistic regressions over the blocks at each gap: what a scene model must beat. Recipe ``screenplay-blocks/1``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.features import Features
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.evaluation.metrics import SceneMetrics, best_threshold, scene_metrics

# Columns of ``structure``: form; then cast turnover, ages and conversation, made from names and no other word.
_FORM_COLUMNS, _NO_TEXT_COLUMNS = 14, 48
_HOLD_OUT_EVERY = 5  # every fifth training movie chooses the threshold


def baselines(train: Mapping[str, Features], test: Mapping[str, Features]) -> dict[str, SceneMetrics]:
    """Fit on ``train``, score on ``test``: ``no_text`` (types, lengths, speakers) and ``logistic_regression`` (all).

    Raises:
        FeatureError: movies that lack ``structure``, or too few of them.
        UnsupportedError: scikit-learn is not installed.
    """
    return {
        "no_text": _evaluate(train, test, text=False),
        "logistic_regression": _evaluate(train, test, text=True),
    }


def _evaluate(train: Mapping[str, Features], test: Mapping[str, Features], *, text: bool) -> SceneMetrics:
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise UnsupportedError("baselines need scikit-learn: pip install 'megaseg[train]'") from error
    if len(train) < 2:
        raise FeatureError(f"baselines: expected at least 2 labelled training movies, got {len(train)}")
    held = {name: movie for i, (name, movie) in enumerate(train.items()) if i % _HOLD_OUT_EVERY == 0}
    fitted = {name: movie for name, movie in train.items() if name not in held}
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3 if text else 1.0, max_iter=200))
    model.fit(
        np.concatenate([_gaps(movie, text)[:-1] for movie in fitted.values()]),
        np.concatenate([_labels(movie)[:-1] for movie in fitted.values()]),
    )

    def scores(movies: Mapping[str, Features]) -> dict[str, NDArray[np.float32]]:
        return {n: model.predict_proba(_gaps(movie, text))[:, 1].astype(np.float32) for n, movie in movies.items()}

    chosen = scores(held)
    threshold = best_threshold(
        np.concatenate([_labels(movie)[:-1] for movie in held.values()]),
        np.concatenate([chosen[name][:-1] for name in held]),
    )
    return scene_metrics({name: _labels(movie) for name, movie in test.items()}, scores(test), threshold)


def _labels(movie: Features) -> NDArray[np.uint8]:
    if movie.labels is None:
        raise FeatureError("baselines: expected labels, got none")
    return movie.labels


def _gaps(movie: Features, text: bool) -> NDArray[np.float32]:
    """(shots, columns): the rows around each gap, from two shots before to three after; text from the two at it."""
    if "structure" not in movie.modalities:
        raise FeatureError(f"baselines: expected the modality structure, got {list(movie.modalities)}")
    movie.require_shots()
    structure = movie.modalities["structure"].astype(np.float32)
    form = structure[:, :_FORM_COLUMNS]
    columns = [_shift(form, by) for by in (-2, -1, 1, 2, 3)]
    if not text:
        return np.concatenate([structure[:, :_NO_TEXT_COLUMNS], *columns], axis=1)
    others = [array.astype(np.float32) for name, array in movie.modalities.items() if name != "structure"]
    both = [structure, *others]
    return np.concatenate([*both, *(_shift(array, 1) for array in both), *columns], axis=1)


def _shift(rows: NDArray[np.float32], by: int) -> NDArray[np.float32]:
    return rows[np.clip(np.arange(len(rows)) + by, 0, len(rows) - 1)]

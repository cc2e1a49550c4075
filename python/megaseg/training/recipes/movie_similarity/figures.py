"""How well vectors of movies tell which pairs are similar."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from megaseg.evaluation.metrics import area_under_roc
from megaseg.training.recipes.movie_similarity.pairs import MoviePairs

Figures = dict[str, float | int | None]


def pair_figures(pairs: MoviePairs, vectors: Mapping[str, NDArray[np.float32]]) -> Figures:
    """``auc`` of the pairs by the cosine of their movies' vectors, None without pairs of both kinds, and their numbers.

    Args:
        pairs: of movies.
        vectors: (E,) by movie.
    """
    similar = int(pairs.similar.sum())
    found: Figures = {"auc": None, "pairs": len(pairs), "similar": similar}
    if 0 < similar < len(pairs):
        found["auc"] = area_under_roc(pairs.similar, cosines(pairs, vectors))
    return found


def cosines(pairs: MoviePairs, vectors: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float64]:
    """Cosine (P,) of the vectors of each pair's movies; 0 with a vector of zeros."""
    used = np.unique(pairs.pairs)
    rows = np.stack([np.asarray(vectors[pairs.names[k]], np.float64) for k in used.tolist()])
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = rows / np.where(lengths > 0, lengths, 1.0)
    a, b = np.searchsorted(used, pairs.pairs).T
    found: NDArray[np.float64] = (unit[a] * unit[b]).sum(1)
    return found

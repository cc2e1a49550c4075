"""Why two scenes are alike: which of their shots are, as the block of nine by nine shots that match best.

Chen et al. (CVPR 2023), section 3.2, take the mean over such blocks of an adjacency matrix for the similarity of two
scenes; their Figures 1 and 4 show them. Here the matrix is of what the encoder read, not of what it made of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.features import Features
from megaseg.errors import FeatureError

WINDOW = 9  # shots of a block's side, or as many as the shorter scene has
Range = tuple[int, int]  # first and last shot, both inside


@dataclass(frozen=True)
class Match:
    """The block of shots of two scenes that match best.

    ``similarities`` (rows, columns) are of shots from ``query_first`` and of shots from ``result_first`` on, from -1 to
    1: the mean over ``modalities`` of the cosines of their features, less the mean of each film's.
    """

    query_first: int
    result_first: int
    similarities: NDArray[np.float32]
    modalities: tuple[str, ...]

    @property
    def mean(self) -> float:
        """Mean similarity of the block."""
        return float(self.similarities.mean(dtype=np.float64))

    def to_dict(self) -> dict[str, Any]:
        """Values of JSON."""
        rows = [[round(value, 4) for value in row] for row in self.similarities.astype(float).tolist()]
        values = {"query_first_shot": self.query_first, "result_first_shot": self.result_first}
        return {**values, "mean": round(self.mean, 6), "modalities": list(self.modalities), "similarities": rows}


def best_block(query: Features, query_shots: Range, result: Features, result_shots: Range) -> Match:
    """The block of a scene of each of two movies whose mean is the highest; of equal ones the first.

    Raises:
        FeatureError: movies that share no modality with a row a shot, or shots that are not there.
    """
    for movie, (first, last) in ((query, query_shots), (result, result_shots)):
        if not 0 <= first <= last < movie.num_shots:
            raise FeatureError(f"shots: expected from 0 to {movie.num_shots - 1}, got {first} to {last}")
    names, matrix = similarities(query, query_shots, result, result_shots)
    rows, columns = (min(WINDOW, size) for size in matrix.shape)
    sums = np.pad(matrix.astype(np.float64), ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    boxes = sums[rows:, columns:] - sums[:-rows, columns:] - sums[rows:, :-columns] + sums[:-rows, :-columns]
    i, j = np.unravel_index(int(boxes.round(9).argmax()), boxes.shape)
    block = matrix[i : i + rows, j : j + columns]
    return Match(query_shots[0] + int(i), result_shots[0] + int(j), block, names)


def similarities(
    query: Features, query_shots: Range, result: Features, result_shots: Range
) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Names of the modalities that both movies have, and similarities (rows, columns) of shots of both.

    A modality is left out for two shots of which one has none of it: its row is zero.

    Raises:
        FeatureError: no such modality.
    """
    names = tuple(name for name in query.modalities if _comparable(query, result, name))
    if not names:
        raise FeatureError(
            f"match: expected movies that share a modality with a row a shot, got {list(query.modalities)} and "
            f"{list(result.modalities)}"
        )
    parts = [(_rows(query, name, query_shots), _rows(result, name, result_shots)) for name in names]
    total = sum((a @ b.T for a, b in parts), start=np.zeros((len(parts[0][0]), len(parts[0][1]))))
    there = sum((np.outer(_there(a), _there(b)) for a, b in parts), start=np.zeros(total.shape))
    return names, (total / np.maximum(there, 1)).astype(np.float32)


def _there(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows are not all zero."""
    return np.asarray(rows.any(axis=1), np.bool_)


def _comparable(query: Features, result: Features, name: str) -> bool:
    if name not in result.modalities or name in query.token_shots or name in result.token_shots:
        return False
    a, b = query.modalities[name], result.modalities[name]
    return a.shape[1] == b.shape[1] and a.dtype.kind == b.dtype.kind == "f"


def _rows(movie: Features, name: str, shots: Range) -> NDArray[np.float64]:
    """Rows of unit length of a scene's shots, less the film's mean; zero where a shot has none."""
    whole = movie.modalities[name]
    there = _there(whole)
    mean = whole[there].mean(axis=0, dtype=np.float64) if there.any() else 0.0
    own = slice(shots[0], shots[1] + 1)
    rows = (whole[own] - mean) * there[own, None]
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 1e-12, lengths, 1.0), np.float64)

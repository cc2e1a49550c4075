"""Pairs of movies that metadata calls similar, or not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from megaseg.errors import FeatureError


@dataclass(frozen=True, slots=True)
class MoviePairs:
    """Pairs of movies: ``pairs`` int32 (P, 2) are numbers in ``names``, the lower first, ``similar`` bool (P,).

    Rows are in order and each pair is there once. ``remarks`` say what of the metadata, or of the films, was left out.
    """

    names: tuple[str, ...]
    pairs: NDArray[np.int32]
    similar: NDArray[np.bool_]
    remarks: tuple[str, ...] = field(default=())

    @classmethod
    def of_scores(
        cls, names: Sequence[str], scores: ArrayLike, share: float, remarks: Iterable[str] = ()
    ) -> MoviePairs:
        """Pairs by how alike metadata says that they are.

        Similar are the pairs of highest score, as near to ``share`` of all as equal scores allow, and never one whose
        score is not above 0; all others are not similar.

        Args:
            names: of the movies.
            scores: float (n, n), symmetric; NaN where metadata says nothing.
            share: of the pairs that are similar, above 0 and below 1.
            remarks: on what was left out.

        Raises:
            FeatureError: a share out of range, or scores of which no pair, or every pair, is similar.
        """
        if not 0 < share < 1:
            raise FeatureError(f"share: expected the share of similar pairs, between 0 and 1, got {share}")
        matrix = np.asarray(scores, np.float64)
        first, second = np.triu_indices(len(names), 1)
        values = matrix[first, second]
        known = ~np.isnan(values)
        first, second, values = first[known], second[known], values[known]
        similar = values >= _threshold(values, share)
        if not similar.any() or similar.all():
            raise FeatureError(
                f"metadata: expected some pairs that are similar and some that are not, got {int(similar.sum())} of "
                f"{len(similar)} similar"
            )
        return cls(tuple(names), np.stack([first, second], 1).astype(np.int32), similar, tuple(remarks))

    @classmethod
    def of_rows(cls, rows: Iterable[tuple[str, str, bool]], remarks: Iterable[str] = ()) -> MoviePairs:
        """Pairs as they are given, in either order of the two names.

        Raises:
            FeatureError: no pair, a movie paired with itself, or a pair said to be both.
        """
        known: dict[tuple[str, str], bool] = {}
        for a, b, similar in rows:
            if a == b:
                raise FeatureError(f"pairs: expected two movies, got {a!r} with itself")
            key = (a, b) if a < b else (b, a)
            if known.setdefault(key, similar) != similar:
                raise FeatureError(f"pairs: {key[0]} and {key[1]}: expected similar or not, got both")
        if not known:
            raise FeatureError("pairs: expected at least one pair of movies, got none")
        names = tuple(sorted({name for pair in known for name in pair}))
        number = {name: k for k, name in enumerate(names)}
        keys = sorted(known)
        pairs = np.array([[number[a], number[b]] for a, b in keys], np.int32)
        return cls(names, pairs, np.array([known[key] for key in keys]), tuple(remarks))

    def __len__(self) -> int:
        return len(self.pairs)

    def between(self, some: Iterable[str], others: Iterable[str]) -> MoviePairs:
        """The pairs of one movie of ``some`` and one of ``others``, which may be the same."""
        sides = [np.isin(self.names, list(names)) for names in (some, others)]
        a, b = self.pairs.T
        kept = (sides[0][a] & sides[1][b]) | (sides[1][a] & sides[0][b])
        return MoviePairs(self.names, self.pairs[kept], self.similar[kept], self.remarks)

    def similar_names(self) -> list[tuple[str, str]]:
        """The names of each similar pair."""
        return [(self.names[a], self.names[b]) for a, b in self.pairs[self.similar].tolist()]


def _threshold(values: NDArray[np.float64], share: float) -> float:
    """The score from which on a pair is similar: of all distinct ones the one whose count is nearest to the share."""
    levels, counts = np.unique(values[values > 0], return_counts=True)
    if not len(levels):
        return math.inf
    above = np.cumsum(counts[::-1])[::-1]
    short = np.abs(above - share * len(values))
    return float(levels[len(levels) - 1 - int(np.argmin(short[::-1]))])  # of two equally near the fewer pairs

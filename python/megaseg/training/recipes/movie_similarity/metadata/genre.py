"""Genre: films of the same genres.

Two films are as similar as the cosine of their genres, each weighted by the logarithm of how rare it is among the
films [chosen]: that two films are both dramas says less than that both are westerns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from megaseg.errors import FeatureError
from megaseg.training.recipes.movie_similarity.metadata.names import known_films, unknown_remark
from megaseg.training.recipes.movie_similarity.metadata.tables import rows_of
from megaseg.training.recipes.movie_similarity.pairs import MoviePairs

COLUMNS = ("name", "genres")
_SEPARATOR = "|"


def read(path: Path, names: Sequence[str], share: float) -> MoviePairs:
    """Pairs of films by a CSV ``name,genres``, genres with ``|`` between, the films named as their feature files are.

    Raises:
        FeatureError: names the line; or fewer than two films with genres, or no similar pair.
    """
    genres: dict[str, frozenset[str]] = {}
    unread, there = 0, set(names)
    for line, (name, text) in rows_of(path, COLUMNS):
        if name.strip() in genres:
            raise FeatureError(f"{path}: line {line}: expected each film once, got {name.strip()!r:.80} again")
        if name.strip() in there:
            genres[name.strip()] = split(text)
        else:
            unread += 1
    return pairs_of(path, names, genres, share, unknown_remark(unread, "rows"))


def split(text: str) -> frozenset[str]:
    """Genres of a cell; none of ``(no genres listed)``."""
    own = (part.strip().lower() for part in text.split(_SEPARATOR))
    return frozenset(part for part in own if part and not part.startswith("("))


def pairs_of(
    path: Path, names: Sequence[str], genres: Mapping[str, frozenset[str]], share: float, remarks: Iterable[str]
) -> MoviePairs:
    """Pairs of the films that have genres; ``path`` is named in errors.

    Raises:
        FeatureError: fewer than two such films, or no similar pair.
    """
    known, absent = known_films(path, names, {name for name, own in genres.items() if own}, "genres")
    every = sorted(set().union(*(genres[name] for name in known)))
    has = np.array([[genre in genres[name] for genre in every] for name in known], np.float64)
    weighted = has * np.log(len(known) / has.sum(0))
    lengths = np.linalg.norm(weighted, axis=1, keepdims=True)
    unit = np.divide(weighted, lengths, np.zeros_like(weighted), where=lengths > 0)
    return MoviePairs.of_scores(known, np.round(unit @ unit.T, 9), share, [*remarks, *absent])

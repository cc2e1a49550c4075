"""Co-watch: which films the same people rate highly.

A film is liked by who rates it ``LEAST_RATING`` or higher. Two films are as similar as their likes are correlated over
all people (the phi coefficient) [chosen]: two popular films that many like by chance have none, two rare ones that the
same people like have much.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from megaseg.errors import FeatureError
from megaseg.training.recipes.movie_similarity.metadata.names import known_films, unknown_remark
from megaseg.training.recipes.movie_similarity.metadata.tables import rows_of
from megaseg.training.recipes.movie_similarity.pairs import MoviePairs

COLUMNS = ("user", "name", "rating")
LEAST_RATING = 4.0
LEAST_LIKES = 10  # of a film: fewer say nothing of it


@dataclass(frozen=True, slots=True)
class Likes:
    """Who likes what: of each user the numbers of the films liked; ``users`` are all who rated any film."""

    names: tuple[str, ...]
    liked: tuple[frozenset[int], ...]
    users: int


def read(path: Path, names: Sequence[str], share: float) -> MoviePairs:
    """Pairs of films by a CSV ``user,name,rating``, the films named as their feature files are.

    Raises:
        FeatureError: names the line; or fewer than two films with enough likes, or no similar pair.
    """
    rows = ((user, name.strip(), number(path, line, rating)) for line, (user, name, rating) in rows_of(path, COLUMNS))
    likes, unread = likes_of(rows, names)
    return pairs_of(path, likes, share, unknown_remark(unread, "ratings"))


def likes_of(ratings: Iterable[tuple[str, str | None, float]], names: Sequence[str]) -> tuple[Likes, int]:
    """Likes of films by ratings (user, film or None, rating), and how many ratings were of no film of ``names``."""
    numbers = {name: k for k, name in enumerate(names)}
    liked: dict[str, set[int]] = {}
    unread = 0
    for user, name, rating in ratings:
        own = liked.setdefault(user, set())
        if name not in numbers:
            unread += 1
        elif rating >= LEAST_RATING:
            own.add(numbers[name])
    return Likes(tuple(names), tuple(map(frozenset, liked.values())), len(liked)), unread


def pairs_of(path: Path, likes: Likes, share: float, remarks: Iterable[str]) -> MoviePairs:
    """Pairs of the films that enough people like; ``path`` is named in errors.

    Raises:
        FeatureError: fewer than two such films, or no similar pair.
    """
    together = _together(likes)
    counts = np.diag(together)
    known = {name for name, count in zip(likes.names, counts, strict=True) if count >= LEAST_LIKES}
    what = f"{LEAST_LIKES} ratings of {LEAST_RATING:g} or higher"
    there, absent = known_films(path, likes.names, known, what)
    chosen = np.array([k for k, name in enumerate(likes.names) if name in known])
    scores = _correlations(together[np.ix_(chosen, chosen)], likes.users)
    return MoviePairs.of_scores(there, scores, share, [*remarks, *absent])


def number(path: Path, line: int, text: str) -> float:
    """A finite number in a cell.

    Raises:
        FeatureError: none; names the line.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise FeatureError(f"{path}: line {line}: expected a rating, got {text!r:.40}")
    return value


def _together(likes: Likes) -> NDArray[np.float64]:
    """How many people like both films, (n, n); on the diagonal, how many like each."""
    counts = np.zeros((len(likes.names),) * 2)
    for liked in likes.liked:
        if liked:
            own = np.fromiter(liked, np.int64)
            counts[own[:, None], own] += 1
    return counts


def _correlations(together: NDArray[np.float64], users: int) -> NDArray[np.float64]:
    """Correlation of each two films' likes over all people; 0 of a film that all like."""
    counts = np.diag(together)
    spread = np.sqrt(counts * (users - counts))
    products = np.outer(spread, spread)
    scores = np.zeros_like(products)
    np.divide(users * together - np.outer(counts, counts), products, scores, where=products > 0)
    return scores

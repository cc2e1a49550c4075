"""Pairs of movies as a CSV: ``a,b,similar``, with 1 or 0 (or yes, no, true, false) in the last column."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from megaseg.errors import FeatureError
from megaseg.training.recipes.movie_similarity.metadata.names import shown
from megaseg.training.recipes.movie_similarity.metadata.tables import rows_of
from megaseg.training.recipes.movie_similarity.pairs import MoviePairs

COLUMNS = ("a", "b", "similar")
_WORDS = {"1": True, "yes": True, "true": True, "0": False, "no": False, "false": False}


def read(path: Path, names: Collection[str], *, partial: bool = False) -> MoviePairs:
    """Pairs of films, named as their feature files are.

    Args:
        path: of the table.
        names: of the films that are there.
        partial: leave out pairs with films that are not there, rather than refuse them.

    Raises:
        FeatureError: names the line, or the films that are not there.
    """
    rows, absent, left = [], dict[str, None](), 0
    for line, (a, b, word) in rows_of(path, COLUMNS):
        a, b, word = a.strip(), b.strip(), word.strip().lower()
        if word not in _WORDS:
            raise FeatureError(f"{path}: line {line}: expected similar to be 1 or 0, got {word!r:.40}")
        unknown = [name for name in (a, b) if name not in names]
        absent |= dict.fromkeys(unknown)
        left += bool(unknown)
        if not unknown:
            rows.append((a, b, _WORDS[word]))
    if absent and not partial:
        raise FeatureError(
            f"{path}: expected pairs of films that are there, got {len(absent)} films that are not: {shown(absent)}"
        )
    remarks = [f"{left} pairs with films that are not there were left out: {shown(absent)}"] if left else []
    try:
        return MoviePairs.of_rows(rows, remarks)
    except FeatureError as error:
        raise FeatureError(f"{path}: {error}") from error

"""A folder of MovieLens: ``links.csv``, ``movies.csv``, ``ratings.csv``, plain or ``.gz``, with or without header.

Films are found by the IMDb id in their name (``tt0114709``), or by the title that ``movies.csv`` has for them.
Source of the format: Harper and Konstan, The MovieLens Datasets (ACM TiiS 2015).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from megaseg.errors import FeatureError
from megaseg.training.recipes.movie_similarity.metadata import co_watch, genre
from megaseg.training.recipes.movie_similarity.metadata.names import known_films, unknown_remark
from megaseg.training.recipes.movie_similarity.metadata.tables import Row, rows_of
from megaseg.training.recipes.movie_similarity.pairs import MoviePairs

LINKS, MOVIES, RATINGS = "links.csv", "movies.csv", "ratings.csv"
_COLUMNS = {
    LINKS: ("movieId", "imdbId", "tmdbId"),
    MOVIES: ("movieId", "title", "genres"),
    RATINGS: ("userId", "movieId", "rating", "timestamp"),
}
_IMDB = re.compile(r"(?<![a-z0-9])tt(\d{5,10})(?!\d)", re.IGNORECASE)


def co_watched(folder: Path, names: Sequence[str], share: float) -> MoviePairs:
    """Pairs of films by who rates both highly.

    Raises:
        FeatureError: a missing or unreadable table, fewer than two films with enough likes, or no similar pair.
    """
    films = _films(folder, names)
    path = _path(folder, RATINGS)
    ratings = (
        (user, films.get(movie.strip()), co_watch.number(path, line, rating))
        for line, (user, movie, rating, _) in _table(folder, RATINGS)
    )
    likes, unread = co_watch.likes_of(ratings, names)
    return co_watch.pairs_of(path, likes, share, unknown_remark(unread, "ratings"))


def same_genres(folder: Path, names: Sequence[str], share: float) -> MoviePairs:
    """Pairs of films by their genres.

    Raises:
        FeatureError: a missing or unreadable table, fewer than two films with genres, or no similar pair.
    """
    films = _films(folder, names)
    genres: dict[str, frozenset[str]] = {}
    unread = 0
    for _, (movie, _, text) in _table(folder, MOVIES):
        if (name := films.get(movie.strip())) is not None:
            genres[name] = genre.split(text)
        else:
            unread += 1
    return genre.pairs_of(_path(folder, MOVIES), names, genres, share, unknown_remark(unread, "genres"))


def _films(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Names of films by MovieLens' number.

    Raises:
        FeatureError: fewer than two films are known.
    """
    wanted = {match[1].lstrip("0"): name for name in names if (match := _IMDB.search(name))}
    films = {
        movie.strip(): wanted[imdb.strip().lstrip("0")]
        for _, (movie, imdb, _) in _table(folder, LINKS)
        if imdb.strip().lstrip("0") in wanted
    }
    titles = {_title(name): name for name in names if not _IMDB.search(name)}
    if titles:
        for _, (movie, title, _) in _table(folder, MOVIES):
            if (name := titles.get(_title(title))) is not None:
                films.setdefault(movie.strip(), name)
    known_films(folder, names, set(films.values()), "a title or an IMDb id in MovieLens")
    return films


def _title(text: str) -> str:
    """A title to compare: ``Good, the Bad and the Ugly, The (1966)`` begins with its article."""
    return re.sub(r"^(.*), (the|a|an)( \(\d{4}\))?$", r"\2 \1\3", " ".join(text.lower().replace("_", " ").split()))


def _table(folder: Path, name: str) -> Iterator[Row]:
    return rows_of(_path(folder, name), _COLUMNS[name], header=False)


def _path(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise FeatureError(f"{folder}: expected {name} or {name}.gz of MovieLens, found neither")

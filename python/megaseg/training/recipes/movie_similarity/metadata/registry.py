"""Pairs of films by a kind of metadata, whatever its format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from megaseg.errors import FeatureError
from megaseg.training.recipes.movie_similarity.metadata import co_watch, genre, movielens, pair_table, synopsis
from megaseg.training.recipes.movie_similarity.metadata.tables import header_of
from megaseg.training.recipes.movie_similarity.pairs import MoviePairs

Reader = Callable[[Path, Sequence[str], float], MoviePairs]
KINDS = ("co-watch", "genre", "synopsis")
_FOLDERS: Mapping[str, Reader] = {"co-watch": movielens.co_watched, "genre": movielens.same_genres}
_TABLES: Mapping[str, tuple[tuple[str, ...], Reader]] = {
    "co-watch": (co_watch.COLUMNS, co_watch.read),
    "genre": (genre.COLUMNS, genre.read),
    "synopsis": (synopsis.COLUMNS, synopsis.read),
}


def read_pairs(
    path: str | Path, kind: str, names: Sequence[str], share: float = 0.1, *, partial: bool = False
) -> MoviePairs:
    """Pairs of the films ``names`` that are similar, or not, by metadata.

    Args:
        path: a folder of MovieLens (co-watch, genre), a CSV with a header, of pairs (``a,b,similar``) or of the kind
            (``user,name,rating``, ``name,genres``, ``name,synopsis``), or an ``.npz`` of synopsis vectors.
        kind: one of ``KINDS``.
        names: of the films, as their feature files are named.
        share: of the pairs that are similar; a table of pairs says itself.
        partial: leave out pairs with films that are not there, rather than refuse them.

    Raises:
        FeatureError: an unknown kind, a file that is none of these, fewer than two films that the metadata knows, or
            none that are similar.
    """
    path = Path(path)
    if kind not in KINDS:
        raise FeatureError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r:.40}")
    if len(names) < 2:
        raise FeatureError(f"films: expected at least 2, got {f'only {names[0]}' if names else 'none'}")
    if path.is_dir():
        if kind not in _FOLDERS:
            raise FeatureError(f"{path}: expected a file of vectors or texts for kind {kind}, got a folder")
        return _FOLDERS[kind](path, names, share)
    columns, reader = _TABLES[kind]
    if path.suffix == ".npz":
        if kind != "synopsis":
            raise FeatureError(f"{path}: expected a folder or a CSV table for kind {kind}, got vectors")
        return reader(path, names, share)
    header = tuple(header_of(path))
    if header == pair_table.COLUMNS:
        return pair_table.read(path, set(names), partial=partial)
    if header != columns:
        known = " or ".join(",".join(own) for own in (pair_table.COLUMNS, columns))
        raise FeatureError(f"{path}: expected the header {known} for kind {kind}, got {','.join(header)!r:.80}")
    return reader(path, names, share)

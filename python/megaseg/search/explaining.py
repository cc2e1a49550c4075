"""What a person wants to see of results: which shots matched, and pictures where films are there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from megaseg.catalog.storage import read_source
from megaseg.errors import MegasegError
from megaseg.search.describing import Describer, Movie
from megaseg.search.index import Hit, SceneIndex
from megaseg.search.match import Match, best_block
from megaseg.search.query import Query

_STRIP = 5  # pictures of a scene


@dataclass(frozen=True)
class Side:
    """Pictures of a scene: a few of all of its shots, and one of each shot that matched; empty where there are none."""

    strip: tuple[bytes, ...] = ()
    matched: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Found:
    """A result with the block of shots that matched, and pictures of the query and of the result."""

    hit: Hit
    match: Match | None = None
    query: Side = Side()
    result: Side = Side()

    def to_dict(self) -> dict[str, Any]:
        """Values of JSON."""
        return {**self.hit.to_dict(), **({"match": self.match.to_dict()} if self.match is not None else {})}


class Explainer:
    """Reads titles of an index again, each once, as its encoder does; ``remarks`` say of which nothing can be shown."""

    def __init__(self, index: SceneIndex, describer: Describer) -> None:
        self._index, self._describer = index, describer
        self._read: dict[str, Movie | None] = {}
        self.remarks: list[str] = []

    def title(self, name: str) -> Movie | None:
        """A title's movie, or None where its file is gone or is another one."""
        if name not in self._read:
            self._read[name] = self._movie(name)
        return self._read[name]

    def _movie(self, name: str) -> Movie | None:
        entry = self._index.title(name)
        try:
            return self._describer.read(read_source(entry.source), self._index.scenes(name)[:, 1])
        except (MegasegError, OSError) as error:
            self.remarks.append(f"{name}: nothing to show of it: {error}")
            return None

    def found(
        self, query: Query, movie: Movie | None, hits: Sequence[Hit], advance: Callable[[], object] = lambda: None
    ) -> list[Found]:
        """Results with all that can be shown of them; ``movie`` is the query's. ``advance`` is called after each."""
        found = []
        for hit in hits:
            found.append(self._explained(query, movie, hit))
            advance()
        return found

    def _explained(self, query: Query, movie: Movie | None, hit: Hit) -> Found:
        other = self.title(hit.title)
        match = None
        if movie is not None and other is not None:
            try:
                match = _block(query, movie, hit, other)
            except MegasegError as error:
                self.remarks.append(f"{hit.title}: {error}")
        rows, columns = (0, 0) if match is None else match.similarities.shape
        first, second = (0, 0) if match is None else (match.query_first, match.result_first)
        return Found(
            hit,
            match,
            _side(movie, (query.first_shot, query.last_shot), (first, rows)),
            _side(other, (hit.first_shot, hit.last_shot), (second, columns)),
        )


def _block(query: Query, movie: Movie, hit: Hit, other: Movie) -> Match:
    """The block of two scenes."""
    own = movie.rows_of(query.first_shot, query.last_shot)
    return best_block(movie.features, own, other.features, other.rows_of(hit.first_shot, hit.last_shot))


def _side(movie: Movie | None, scene: tuple[int, int], matched: tuple[int, int]) -> Side:
    """Pictures of a film's scene, of shots from first to last, and of the shots that matched, of first and count."""
    if movie is None or movie.thumbnails is None or movie.times[0] is None:
        return Side()
    picked = np.unique(np.linspace(*scene, min(_STRIP, scene[1] - scene[0] + 1)).round().astype(int))
    shots = np.append(picked, np.arange(matched[0], matched[0] + matched[1]))
    pictures = movie.thumbnails.of_shots(movie.times[0][shots])
    return Side(tuple(pictures[: len(picked)]), tuple(pictures[len(picked) :]))

"""Scene pairs of similar movies: which windows of shots of two movies are most alike to an encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.engine import Engine
from megaseg.engine.inputs.features import Features
from megaseg.errors import FeatureError
from megaseg.features.video.similarity import prepared
from megaseg.kernels.scene_pairs import scene_pairs
from megaseg.pipelines.embedding import require_embedding
from megaseg.pipelines.mined_pairs import MinedPairs, cuts_of
from megaseg.pipelines.similarity import movie_vectors, similarities

WINDOW = 9  # shots of a scene (Chen et al. 2023)
SHARE = 0.5
_BATCH = 64  # movie pairs at once
_KEPT = 256  # movies whose rows are kept, which several pairs read
Pairs = Sequence[tuple[str, str]]


def mine(
    movies: Mapping[str, Features],
    engine: Engine,
    pairs: Pairs,
    digest: str,
    *,
    window: int = WINDOW,
    share: float = SHARE,
    limit: int | None = None,
    num_threads: int = 0,
    advance: Callable[[int], None] = lambda pairs: None,
) -> MinedPairs:
    """Scene pairs of pairs of movies, by the cosine of what an encoder makes of their shots.

    The similarity of two scenes is the mean cosine of their shots; of all those of two movies the best ``share`` are
    candidates, and the best that overlap none taken before are kept.

    Args:
        movies: features by name.
        engine: of an encoder of shots, such as a movie encoder.
        pairs: names of movies, as of ``similar_movies`` or ``MoviePairs.similar_names``.
        digest: ``encoder_sha256`` of the encoder.
        window: shots of a scene.
        share: of all windows of two movies that are candidates.
        limit: most scene pairs of two movies; None keeps all.
        num_threads: 0 takes every core.
        advance: called with the number of movie pairs that are done.

    Raises:
        FeatureError: no pair, movies that are not there or that have fewer shots than a window, or features that do
            not fit the encoder.
        UnsupportedError: a model that gives no embedding of each shot.
    """
    require_embedding(engine.config)
    _require(movies, pairs, window, limit)
    names = tuple(sorted({name for pair in pairs for name in pair}))
    number = {name: k for k, name in enumerate(names)}
    rows = lru_cache(_KEPT)(lambda name: unit_rows(engine, movies[name]))
    owners, first, scores = [], [], []
    for begin in range(0, len(pairs), _BATCH):
        own = pairs[begin : begin + _BATCH]
        sides = [[rows(pair[side]) for pair in own] for side in (0, 1)]
        found = scene_pairs(*sides, window=window, share=share, num_threads=num_threads)
        for (a, b), mined in zip(own, found, strict=True):
            kept = slice(limit)
            owners.append(np.full((len(mined.first[kept]), 2), (number[a], number[b]), np.int32))
            first.append(mined.first[kept])
            scores.append(mined.scores[kept])
        advance(len(own))
    shots = np.array([movies[name].num_shots for name in names], np.int32)
    cuts = tuple(cuts_of(movies[name]) for name in names)
    joined = np.concatenate(owners), np.concatenate(first), np.concatenate(scores)
    return MinedPairs(names, shots, cuts, *joined, window, digest)


def unit_rows(engine: Engine, movie: Features) -> NDArray[np.float32]:
    """Output ``embedding`` (n, C) of a movie, each row of length 1; a row of zeros stays."""
    rows = engine.embed(prepared(movie, engine.config.recipe))
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[np.float32] = np.ascontiguousarray(rows / np.where(lengths > 0, lengths, 1), np.float32)
    return unit


def similar_movies(
    movies: Mapping[str, Features], engine: Engine, count: int = 8, *, least: float = 0.0
) -> list[tuple[str, str]]:
    """Pairs of movies that a movie encoder calls similar: of each movie the ``count`` most similar others.

    Args:
        movies: features by name.
        engine: of a movie encoder.
        count: others of each movie.
        least: least P(similar) of a pair.

    Raises:
        FeatureError: fewer than two movies, or no pair that is as similar as ``least``.
        UnsupportedError: a model of another family.
    """
    if len(movies) < 2:
        raise FeatureError(f"movies: expected at least 2, got {f'only {next(iter(movies))}' if movies else 'none'}")
    if count < 1:
        raise FeatureError(f"count: expected at least 1 other movie of each, got {count}")
    names = list(movies)
    found: dict[tuple[str, str], None] = {}
    vectors = movie_vectors(engine, movies.values())
    for k, row in _rows(engine, vectors):
        row[k] = -1.0
        order = np.argsort(-row, kind="stable")[:count]
        nearest = (int(j) for j in order if j != k and row[j] >= least)
        found |= {(names[min(k, j)], names[max(k, j)]): None for j in nearest}
    if not found:
        raise FeatureError(f"least: expected a pair of movies of P(similar) {least} or more, got none")
    return list(found)


def long_enough(movies: Mapping[str, Features], window: int = WINDOW) -> tuple[dict[str, Features], list[str]]:
    """The movies that have a window, and the names of those that have not."""
    short = [name for name, movie in movies.items() if movie.num_shots < window]
    return {name: movie for name, movie in movies.items() if name not in set(short)}, short


def _rows(engine: Engine, vectors: NDArray[np.float32]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """P(similar) of each movie with all, a block of movies at once."""
    for begin in range(0, len(vectors), 256):
        yield from enumerate(similarities(engine, vectors[begin : begin + 256], vectors), begin)


def _require(movies: Mapping[str, Features], pairs: Iterable[tuple[str, str]], window: int, limit: int | None) -> None:
    named = dict.fromkeys(name for pair in pairs for name in pair)
    if not named:
        raise FeatureError("pairs: expected at least one pair of movies, got none")
    if limit is not None and limit < 1:
        raise FeatureError(f"limit: expected at least 1 scene pair of two movies, got {limit}")
    for name in named:
        if name not in movies:
            raise FeatureError(f"pairs: expected movies that are there, got {name}")
        if movies[name].num_shots < window:
            raise FeatureError(
                f"{name}: expected at least {window} shots, those of one scene, got {movies[name].num_shots}"
            )
    for a, b in pairs:
        if a == b:
            raise FeatureError(f"pairs: expected two movies, got {a} with itself")


@dataclass(frozen=True, slots=True)
class PairBlock:
    """One mined pair in full: names and first shots of its scenes, and the cosine (window, window) of their shots."""

    names: tuple[str, str]
    first: tuple[int, int]
    similarities: NDArray[np.float32]


def best_blocks(movies: Mapping[str, Features], engine: Engine, mined: MinedPairs, count: int) -> list[PairBlock]:
    """The ``count`` best of mined pairs, no two movies more than once, the highest score first.

    Raises:
        FeatureError: movies that the pairs were not mined from, or features that do not fit the encoder.
    """
    mined.require_movies(movies)
    found: dict[tuple[int, int], PairBlock] = {}
    for k in np.argsort(-mined.scores, kind="stable").tolist():
        a, b = mined.movies[k].tolist()
        if (a, b) in found:
            continue
        if len(found) == count:
            break
        names, (i, j) = (mined.names[a], mined.names[b]), mined.first[k].tolist()
        u, v = (unit_rows(engine, movies[name])[x : x + mined.window] for name, x in zip(names, (i, j), strict=True))
        found[a, b] = PairBlock(names, (i, j), u @ v.T)
    return list(found.values())

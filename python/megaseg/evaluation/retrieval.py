"""Retrieval between modalities by contextual features, as they are (Argaw et al., Sec. 4.3, Tables 8 and 9)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.engine import Engine
from megaseg.engine.inputs.features import Features
from megaseg.engine.model.long_range import LongRangeConfig
from megaseg.errors import FeatureError, UnsupportedError

_BLOCK = 1024  # queries whose similarities are held at once
_UNITS = ("clip", "shot")


@dataclass(frozen=True, slots=True)
class RetrievalMetrics:
    """Ranks of the right one among ``candidates``, from 1: shares within the first 1, 5 and 10, median and mean."""

    candidates: int
    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    median_rank: float
    mean_rank: float


def retrieval_metrics(queries: NDArray[np.float32], candidates: NDArray[np.float32]) -> RetrievalMetrics:
    """Metrics of cosine similarity, query i (n, C) belongs to candidate i (n, C); equal ones count as before it.

    Raises:
        FeatureError: fewer than two pairs, or of different shapes.
    """
    if queries.shape != candidates.shape or len(queries) < 2:
        raise FeatureError(f"retrieval: expected two pairs or more, got rows {queries.shape} and {candidates.shape}")
    own, others = _unit_rows(queries), _unit_rows(candidates)
    ranks = np.concatenate([_ranks(own, others, begin) for begin in range(0, len(own), _BLOCK)])
    one, five, ten = (float((ranks <= most).mean()) for most in (1, 5, 10))
    return RetrievalMetrics(len(ranks), one, five, ten, float(np.median(ranks)), float(ranks.mean()))


def paired_rows(
    engine: Engine,
    movies: Mapping[str, Features],
    roles: tuple[str, str],
    unit: str = "clip",
    advance: Callable[[int], None] = lambda movies: None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Contextual features (pairs, C) of two of a model's roles, such as video and audio, row by row of the same.

    A pair is a movie (``unit`` clip: means over its shots) or a shot. Movies that lack one of the modalities, and shots
    without language, are left out.

    Raises:
        UnsupportedError: a model of another family, a role that it does not have, or an unknown unit.
        FeatureError: features that do not fit the model, or no movie that has both modalities.
    """
    config = engine.config
    if not isinstance(config, LongRangeConfig):
        raise UnsupportedError(f"retrieval: expected a model of family long_range, got one of {config.family}")
    known = config.roles
    for role in roles:
        if role not in known:
            raise UnsupportedError(f"retrieval: expected two of {', '.join(known)}, got {role!r}")
    if roles[0] == roles[1]:
        raise UnsupportedError(f"retrieval: expected two of {', '.join(known)}, got {roles[0]!r} twice")
    if unit not in _UNITS:
        raise UnsupportedError(f"unit: expected one of {', '.join(_UNITS)}, got {unit!r}")
    pairs: list[list[NDArray[np.float32]]] = []
    for movie in movies.values():
        advance(1)
        if any(known[role] in engine.absent(movie) for role in roles):
            continue
        there = _with_tokens(engine, movie, known, roles)
        outputs = engine.outputs(movie, [f"context.{role}" for role in roles])
        rows = [own[there] for own in outputs.values()]
        if there.any():
            pairs.append([own.mean(0, keepdims=True) for own in rows] if unit == "clip" else rows)
    if not pairs:
        raise FeatureError(f"retrieval: expected films with {' and '.join(roles)}, got none of {len(movies)}")
    first, second = (np.concatenate(part) for part in zip(*pairs, strict=True))
    return first, second


def _with_tokens(
    engine: Engine, movie: Features, known: Mapping[str, str], roles: tuple[str, str]
) -> NDArray[np.bool_]:
    """Which shots (shots,) have a row of both roles: those with language, if it is one of them."""
    tokens = engine.config.token_modality
    there = np.ones(movie.num_shots, bool)
    if tokens is not None and tokens in (known[role] for role in roles):
        there[:] = False
        there[movie.completed(engine.config.modalities, tokens).token_shots[tokens]] = True
    return there


def _unit_rows(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = rows.astype(np.float64)
    unit: NDArray[np.float64] = wide / np.linalg.norm(wide, axis=1, keepdims=True).clip(1e-12)
    return unit


def _ranks(queries: NDArray[np.float64], candidates: NDArray[np.float64], begin: int) -> NDArray[np.int64]:
    """Ranks of the right candidates of a block of queries."""
    similar = np.round(queries[begin : begin + _BLOCK] @ candidates.T, 9)  # equal vectors are equally similar
    rows = np.arange(len(similar))
    right = similar[rows, begin + rows]
    ranks: NDArray[np.int64] = (similar >= right[:, None]).sum(axis=1)
    return ranks

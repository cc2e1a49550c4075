"""Rows that are not shots: tokens, such as sentences, each of which falls into a shot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.errors import FeatureError

SUFFIX = ".shots"  # of the key that has the shots of a modality's tokens


def check_token_shots(modality: str, given: Any, modalities: Mapping[str, Any], shots: int) -> None:
    """Shots of tokens are int32 (tokens,), never fall, and are shots of the movie.

    Raises:
        FeatureError: they are not, or the modality is not there.
    """
    name = modality + SUFFIX
    if modality not in modalities:
        raise FeatureError(
            f"{name}: expected the shots of a modality's tokens ({', '.join(modalities)}), got no modality"
        )
    if not isinstance(given, np.ndarray):
        raise FeatureError(f"{name}: expected a NumPy array, got {type(given).__name__}")
    tokens = len(modalities[modality])
    if given.dtype != np.int32 or given.shape != (tokens,):
        raise FeatureError(f"{name}: expected int32 ({tokens},), a shot a token, got {given.dtype} {given.shape}")
    outside = np.flatnonzero((given < 0) | (given >= shots))
    if outside.size:
        raise FeatureError(
            f"{name}: expected shots from 0 to {shots - 1}, got {given[outside[0]]} of token {outside[0]}"
        )
    falling = np.flatnonzero(given[1:] < given[:-1]) + 1
    if falling.size:
        token = falling[0]
        raise FeatureError(
            f"{name}: expected shots that never fall, got {given[token]} after {given[token - 1]} at token {token}"
        )


def tokens_of_rows(rows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Rows of shots (shots, D) as tokens (s, D) and their shots (s,): a row of zeros is no token."""
    shots = np.flatnonzero(rows.any(axis=1)).astype(np.int32)
    return rows[shots], shots


def tokens_within(
    tokens: NDArray[Any], shots: NDArray[np.int32], begin: int, end: int, none: int
) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Tokens (s, D) of the shots from ``begin`` to ``end``, and their shots (s, 1), counted from ``begin``.

    Where there are none, one token of zeros, whose shot is ``none``: a sequence is never empty.
    """
    first, last = np.searchsorted(shots, [begin, end])
    if first == last:
        return np.zeros((1, tokens.shape[1]), tokens.dtype), np.full((1, 1), none, np.int32)
    return tokens[first:last], (shots[first:last] - np.int32(begin))[:, None]

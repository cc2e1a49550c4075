"""Optimal sequential grouping of the shots around a gap, and sums over blocks of pairs that it needs.

Arrays have the gaps last: a matrix [a, b, gap] of pairs of the shots around each gap. Sums run in one order, however
many gaps there are, so that a row's bits do not depend on the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]  # float32


def margins(areas: Array, sizes: Array, kinds: Iterable[tuple[float, float]]) -> list[Array]:
    """How much better the best grouping of the shots into scenes is with a boundary in the middle than without one.

    A grouping is worth the sum over its scenes' pairs of shots, each less an offset, over a power of the scene's
    length (Rotman et al. 2016 minimise the sum alone, told the number of scenes; here similarities are z-scores, so
    that the number follows). ``areas`` and ``sizes`` are those of the similarities and of the pairs that are there;
    ``kinds`` are offsets and powers.
    """
    worth, pairs = _within(areas), _within(sizes)
    places = np.arange(len(worth))
    lengths = np.maximum(np.abs(places[:, None] - places), 1).astype(np.float32)[:, :, None]
    found = ((worth - np.float32(offset) * pairs) / lengths ** np.float32(power) for offset, power in kinds)
    return [margin(own) / np.float32(4) for own in found]


def margin(worth: Array) -> Array:
    """Worth of the best grouping with a boundary in the middle, less that of the best without; ``worth`` is [s, e]."""
    span = len(worth) - 1
    half = span // 2
    before = np.zeros((span + 1, worth.shape[2]), np.float32)  # best grouping of the shots before e
    after = np.zeros_like(before)  # of the shots from s
    for e in range(1, span + 1):
        before[e] = (before[:e] + worth[:e, e]).max(0)
    for s in range(span - 1, -1, -1):
        after[s] = (after[s + 1 :] + worth[s, s + 1 :]).max(0)
    bridged = before[:half, None] + worth[:half, half + 1 :] + after[half + 1 :]
    result: Array = before[half] + after[half] - bridged.max((0, 1))
    return result


def total(values: Array) -> Array:
    """Sum over the first axis."""
    result: Array = values[0].copy()
    for row in values[1:]:
        result += row
    return result


def areas_of(values: Array) -> Array:
    """Sums [s, e] over the pairs of the shots before s with those before e, one longer than ``values`` each way."""
    return _running(_running(values).swapaxes(0, 1)).swapaxes(0, 1)


def area(areas: Array, top: int, bottom: int, left: int, right: int) -> Array:
    """Sum over the pairs of the shots top to bottom with those left to right."""
    result: Array = areas[bottom, right] - areas[top, right] - areas[bottom, left] + areas[top, left]
    return result


def _within(areas: Array) -> Array:
    """The sum [s, e] over the pairs of the shots s to e, each once."""
    own = areas[np.arange(len(areas)), np.arange(len(areas))]
    result: Array = (own - areas - areas.swapaxes(0, 1) + own[:, None]) / 2
    return result


def _running(values: Array) -> Array:
    """Sums over the first axis of the rows before each, (rows + 1, ...)."""
    sums = np.zeros((len(values) + 1, *values.shape[1:]), np.float32)
    for at, row in enumerate(values):
        np.add(sums[at], row, out=sums[at + 1])
    return sums

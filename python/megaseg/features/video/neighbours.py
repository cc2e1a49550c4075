"""Local similarities of shots, whatever network or histogram their features come from.

Row i tells about the gap after shot i, from the ``HALF`` shots on either side of it alone. Each modality has the same
columns: its cosine similarities within these 2 ``HALF`` shots, as they are and centred on their mean, as z-scores among
all pairs of them, pooled at several scales. Modality ``rhythm`` has lengths of shots and the breaks between them.
Whatever is not there (shots beyond the film's ends, zero rows, a modality, times) gives zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

HALF = 12  # K: shots seen on either side of a gap
_SPAN = 2 * HALF
_NEAR = 4  # shots on either side of the gap whose pairs have a column each
_SCALES = (1, 2, 3, 4, 6, 8, 12)  # shots on either side that are pooled
_LEAST_LINKS = (1.0, 2.0)  # z-scores from which a pair of shots links both sides
_OFFSETS = (0.0, 0.5, 1.0)  # z-score that a pair within a scene must exceed to speak for the scene
_BLOCK = 256  # gaps computed at once: their similarities fit the cache
_MOST = 6.0  # bound of every column
Array = NDArray[np.float32]
Mask = NDArray[np.bool_]


def similarity_rows(vectors: NDArray[Any], gaps: range) -> Array:
    """Rows (gaps, ``WIDTH``) of the gaps after the shots ``gaps`` of raw features (shots, D)."""
    blocks = range(gaps.start, gaps.stop, _BLOCK)
    return np.concatenate([_block(vectors, begin, min(begin + _BLOCK, gaps.stop)) for begin in blocks])


def _block(vectors: NDArray[Any], begin: int, end: int) -> Array:
    cosines, pairs, seen = _cosines(vectors, begin, end)
    centred = _centred(cosines, seen)
    some = pairs.any((0, 1))
    sizes = _areas(pairs.astype(np.float32))
    share = (_sum(seen.astype(np.float32)) - HALF) / HALF
    columns = [some, seen[HALF - 1], seen[HALF], share, *_raw(cosines)]
    for similarities in (cosines, centred):
        scores, moments = _z_scores(similarities, pairs)
        areas = _areas(scores)
        columns += [*moments, *_near(scores), *_means(areas, sizes), *_links(scores, pairs), *_groupings(areas, sizes)]
    rows = np.stack([np.asarray(column, np.float32) for column in columns], axis=1)
    result: Array = np.where(some[:, None], rows.clip(-_MOST, _MOST), np.float32(0))
    return result


def _cosines(vectors: NDArray[Any], begin: int, end: int) -> tuple[Array, Mask, Mask]:
    """Of each gap's shots: cosines (2 K, 2 K, gaps), which pairs of different shots are there, and which shots are.

    Products of neighbours are summed row by row, so that a shot's values do not depend on those around it.
    """
    first, last = max(0, begin - HALF + 1), min(len(vectors), end + HALF)
    own = vectors[first:last].astype(np.float32)
    own = np.sign(own) * np.sqrt(np.abs(own))  # a few large values would decide alone
    norms = np.sqrt(np.einsum("ij,ij->i", own, own))
    own /= np.where(norms > 0, norms, np.float32(1))[:, None]
    lags = np.zeros((_SPAN, last - first), np.float32)  # lags[d, j]: of shots j and j + d
    for lag in range(min(_SPAN, last - first)):
        lags[lag, : last - first - lag] = np.einsum("ij,ij->i", own[: last - first - lag], own[lag:])
    places = np.arange(_SPAN)
    at = places[:, None] + np.arange(begin - HALF + 1, end - HALF + 1) - first  # [place, gap] -> row of own
    seen = (at >= 0) & (at < last - first)
    at = at.clip(0, last - first - 1)
    seen &= norms[at] > 0
    earlier, apart = np.minimum(places[:, None], places), np.abs(places[:, None] - places)
    there = seen[:, None] & seen
    cosines = np.where(there, lags[apart[:, :, None], at[earlier]], np.float32(0))
    return cosines, there & (apart > 0)[:, :, None], seen


def _centred(cosines: Array, seen: Mask) -> Array:
    """Cosines of the unit vectors less the mean of those that are there."""
    count = np.maximum(_sum(seen.astype(np.float32)), 1)
    mean = _sum(cosines) / count  # of each shot with all
    products = cosines - mean - mean[:, None] + _sum(mean) / count
    norms = np.sqrt(np.maximum(products[np.arange(_SPAN), np.arange(_SPAN)], np.float32(1e-6)))
    result: Array = np.where(seen[:, None] & seen, products / norms / norms[:, None], np.float32(0))
    return result


def _z_scores(similarities: Array, pairs: Mask) -> tuple[Array, list[Array]]:
    """Similarities of pairs among each other, zero for those that are not there, and their mean and deviation."""
    there = pairs.astype(np.float32)
    size = np.maximum(_sum(_sum(there)), 1)
    mean = _sum(_sum(similarities * there)) / size
    apart = (similarities - mean) * there
    deviation = np.sqrt(_sum(_sum(apart * apart)) / size)
    scores: Array = apart / (deviation + np.float32(1e-2))
    return scores.clip(-_MOST, _MOST), [2 * mean, 4 * deviation]


def _sum(values: Array) -> Array:
    """Sum over the first axis, in one order however many gaps there are."""
    total = values[0].copy()
    for row in values[1:]:
        total += row
    return total


def _running(values: Array) -> Array:
    """Sums over the first axis of the rows before each, (rows + 1, ...)."""
    sums = np.zeros((len(values) + 1, *values.shape[1:]), np.float32)
    for at, row in enumerate(values):
        np.add(sums[at], row, out=sums[at + 1])
    return sums


def _areas(values: Array) -> Array:
    """Sums [s, e] over the pairs of the shots before s with those before e, (2 K + 1, 2 K + 1, gaps)."""
    by_row = _running(values)
    return _running(by_row.swapaxes(0, 1)).swapaxes(0, 1)


def _across(values: NDArray[Any]) -> NDArray[Any]:
    """Of pairs, those across the gap: [a, b] of the shot a before it and the shot b after it, nearest first."""
    return values[HALF - 1 :: -1, HALF:]


def _raw(cosines: Array) -> list[Array]:
    across = _across(cosines)
    return [across[0, 0], across[:2, :2].max((0, 1)), across[:4, :4].max((0, 1))]


def _near(scores: Array) -> list[Array]:
    across = _across(scores)
    return [across[a, b] for a in range(_NEAR) for b in range(_NEAR)]


def _means(areas: Array, sizes: Array) -> list[Array]:
    """At each scale: means of pairs across the gap, on either side, and how much lower across it they are."""
    columns = []
    for scale in _SCALES:
        begin, end = HALF - scale, HALF + scale
        crossing, left, right = (
            _area(areas, *block) / np.maximum(_area(sizes, *block), 1)
            for block in ((begin, HALF, HALF, end), (begin, HALF, begin, HALF), (HALF, end, HALF, end))
        )
        columns += [crossing] if scale == 1 else [crossing, left, right, np.minimum(left, right) - crossing]
    return columns


def _area(areas: Array, top: int, bottom: int, left: int, right: int) -> Array:
    return areas[bottom, right] - areas[top, right] - areas[bottom, left] + areas[top, left]


def _links(scores: Array, pairs: Mask) -> list[Array]:
    """At each scale: the best pair across the gap, means of each shot's best, and how many pairs link both sides."""
    across = np.where(_across(pairs), _across(scores), np.float32(-_MOST))
    best, back = across.copy(), across.copy()
    for at in range(1, HALF):
        np.maximum(best[at - 1], best[at], out=best[at])  # [a, b]: the shot b after the gap and a + 1 before it
        np.maximum(back[:, at - 1], back[:, at], out=back[:, at])
    linked = [_areas((across >= least).astype(np.float32)) for least in _LEAST_LINKS]
    columns = []
    for scale in _SCALES[1:]:
        k = scale - 1
        columns += [best[k, :scale].max(0), _sum(best[k, :scale]) / scale, _sum(back[:scale, k]) / scale]
        columns += [counts[scale, scale] / scale for counts in linked]
    return [*columns, *best[HALF - 1, :_NEAR], *back[:_NEAR, HALF - 1]]


def _groupings(areas: Array, sizes: Array) -> list[Array]:
    """How much better the best grouping of the shots into scenes is with a boundary at the gap than without one.

    A grouping is worth the sum of its scenes' pairs (each less an offset) over the square root of the scene's length.
    """
    worth, pairs = _within(areas), _within(sizes)
    lengths = np.abs(np.arange(_SPAN + 1)[:, None] - np.arange(_SPAN + 1))
    root = np.sqrt(np.maximum(lengths, 1)).astype(np.float32)[:, :, None]
    return [_margin((worth - np.float32(offset) * pairs) / root) / np.float32(4) for offset in _OFFSETS]


def _within(areas: Array) -> Array:
    """The sum [s, e] over the pairs of the shots s to e, each once."""
    own = areas[np.arange(_SPAN + 1), np.arange(_SPAN + 1)]
    return (own - areas - areas.swapaxes(0, 1) + own[:, None]) / 2


def _margin(worth: Array) -> Array:
    """Worth of the best grouping with a boundary in the middle, less that of the best without; ``worth`` is [s, e]."""
    before = np.zeros((_SPAN + 1, worth.shape[2]), np.float32)  # best grouping of the shots before e
    after = np.zeros_like(before)  # of the shots from s
    for e in range(1, _SPAN + 1):
        before[e] = (before[:e] + worth[:e, e]).max(0)
    for s in range(_SPAN - 1, -1, -1):
        after[s] = (after[s + 1 :] + worth[s, s + 1 :]).max(0)
    bridged = before[:HALF, None] + worth[:HALF, HALF + 1 :] + after[HALF + 1 :]
    return before[HALF] + after[HALF] - bridged.max((0, 1))


WIDTH = similarity_rows(np.zeros((1, 1), np.float32), range(1)).shape[1]

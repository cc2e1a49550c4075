"""Local similarities of shots, whatever network or histogram their features come from.

Row i tells about the gap after shot i, from the ``HALF`` shots on either side of it alone. Each modality has the same
columns: its cosine similarities within these shots, as they are and centred on their mean, as z-scores among all pairs
of them, pooled at several scales, and the margins of groupings. Pictures have columns besides for their similarities
together, of ``INNER`` shots on either side. Whatever is not there (shots beyond the film's ends, zero rows, a modality)
gives zeros.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.features.video.groupings import Array, area, areas_of, margins, total

HALF = 12  # K: shots seen on either side of a gap
INNER = 8  # of them, those whose similarities in several modalities are seen together
PICTURES = ("visual", "colour")  # modalities that are seen together
_SPAN = 2 * HALF
_MIDDLE = slice(HALF - INNER, HALF + INNER)
_NEAR = 4  # shots on either side of the gap whose pairs have a column each
_SCALES = (1, 2, 3, 4, 6, 8, 12)  # shots on either side that are pooled
_LEAST_LINKS = (1.0, 2.0)  # z-scores from which a pair of shots links both sides
_OFFSETS = (-0.4, -0.2, 0.0, 0.2)  # z-scores that a pair within a scene must exceed to speak for the scene
_POWERS = (0.25, 0.5, 0.75)
_SINGLE = tuple((offset, 0.5) for offset in _OFFSETS)
_TOGETHER = tuple((offset, power) for offset in _OFFSETS for power in _POWERS)
_BLOCK = 256  # gaps computed at once: their similarities fit the cache
_MOST = 6.0  # bound of every column
Mask = NDArray[Any]  # bool
Found = tuple[Array, Mask]  # cosines [a, b, gap] of the shots around each gap, and which shots are there [a, gap]


def similarity_rows(vectors: Mapping[str, NDArray[Any]], gaps: range) -> dict[str, Array]:
    """Rows (gaps, ``WIDTH``) by modality of the gaps after the shots ``gaps`` of raw features (shots, D).

    Rows (gaps, ``TOGETHER_WIDTH``) of ``pictures`` come with them.
    """
    blocks = [_block(vectors, b, min(b + _BLOCK, gaps.stop)) for b in range(gaps.start, gaps.stop, _BLOCK)]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _block(vectors: Mapping[str, NDArray[Any]], begin: int, end: int) -> dict[str, Array]:
    found = {name: _cosines(array, begin, end) for name, array in vectors.items()}
    rows = {name: _modality(*own) for name, own in found.items()}
    pictures = [found[name] for name in PICTURES if name in found]
    nothing = np.zeros((end - begin, TOGETHER_WIDTH), np.float32)
    return {**rows, "pictures": _together(pictures) if pictures else nothing}


def _modality(cosines: Array, seen: Mask) -> Array:
    pairs = _pairs(seen)
    some: Mask = np.any(pairs, axis=(0, 1))
    sizes = areas_of(pairs.astype(np.float32))
    share = (total(seen.astype(np.float32)) - HALF) / HALF
    columns = [some, seen[HALF - 1], seen[HALF], share, *_raw(cosines)]
    for similarities in (cosines, _centred(cosines, seen)):
        scores, moments = _z_scores(similarities, pairs)
        areas = areas_of(scores)
        columns += [*moments, *_near(scores), *_means(areas, sizes), *_links(scores, pairs)]
        columns += margins(areas, sizes, _SINGLE)
    return _rows(columns, some)


def _together(modalities: Sequence[Found]) -> Array:
    """Columns of the mean z-scores of several modalities, of cosines, of centred ones and of both."""
    shape = (2 * INNER, 2 * INNER, modalities[0][0].shape[2])
    sums, count = (np.zeros(shape, np.float32), np.zeros(shape, np.float32)), np.zeros(shape, np.float32)
    for cosines, seen in ((cosines[_MIDDLE, _MIDDLE], seen[_MIDDLE]) for cosines, seen in modalities):
        pairs = _pairs(seen)
        count += pairs
        for own, similarities in zip(sums, (cosines, _centred(cosines, seen)), strict=True):
            own += _z_scores(similarities, pairs)[0]
    pairs = count > 0
    plain, centred = (own / np.maximum(count, 1) for own in sums)
    both, sizes = (plain + centred) / 2, areas_of(pairs.astype(np.float32))
    some: Mask = np.any(pairs, axis=(0, 1))
    areas = areas_of(both)
    columns = [some, *_near(both), *_means(areas, sizes), *_links(both, pairs), *margins(areas, sizes, _TOGETHER)]
    for scores in (plain, centred):
        columns += margins(areas_of(scores), sizes, _SINGLE)
    return _rows(columns, some)


def _rows(columns: Sequence[NDArray[Any]], some: Mask) -> Array:
    rows = np.stack([np.asarray(column, np.float32) for column in columns], axis=1)
    result: Array = np.where(some[:, None], rows.clip(-_MOST, _MOST), np.float32(0))
    return result


def _cosines(vectors: NDArray[Any], begin: int, end: int) -> Found:
    """Of the gaps after the shots begin to end. Products are summed shot by shot: others do not change their bits."""
    first, last = max(0, begin - HALF + 1), min(len(vectors), end + HALF)
    own = vectors[first:last].astype(np.float32)
    peaks = np.abs(own).max(1, keepdims=True)
    own /= np.where(peaks > 0, peaks, np.float32(1))  # no square overflows
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
    return np.where(seen[:, None] & seen, lags[apart[:, :, None], at[earlier]], np.float32(0)), seen


def _pairs(seen: Mask) -> Mask:
    """Pairs of different shots that are there."""
    result: Mask = seen[:, None] & seen & ~np.eye(len(seen), dtype=bool)[:, :, None]
    return result


def _centred(cosines: Array, seen: Mask) -> Array:
    """Cosines of the unit vectors less the mean of those that are there."""
    count = np.maximum(total(seen.astype(np.float32)), 1)
    mean = total(cosines) / count  # of each shot with all
    products = cosines - mean - mean[:, None] + total(mean) / count
    places = np.arange(len(cosines))
    norms = np.sqrt(np.maximum(products[places, places], np.float32(1e-6)))
    result: Array = np.where(seen[:, None] & seen, products / norms / norms[:, None], np.float32(0))
    return result


def _z_scores(similarities: Array, pairs: Mask) -> tuple[Array, list[Array]]:
    """Similarities of pairs among each other, zero for those that are not there, and their mean and deviation."""
    there = pairs.astype(np.float32)
    size = np.maximum(total(total(there)), 1)
    mean = total(total(similarities * there)) / size
    apart = (similarities - mean) * there
    deviation = np.sqrt(total(total(apart * apart)) / size)
    scores: Array = apart / (deviation + np.float32(1e-2))
    return scores.clip(-_MOST, _MOST), [2 * mean, 4 * deviation]


def _across(values: NDArray[Any]) -> NDArray[Any]:
    """Of pairs, those across the gap: [a, b] of the shot a before it and the shot b after it, nearest first."""
    half = len(values) // 2
    return values[half - 1 :: -1, half:]


def _raw(cosines: Array) -> list[Array]:
    across = _across(cosines)
    return [across[0, 0], across[:2, :2].max((0, 1)), across[:4, :4].max((0, 1))]


def _near(scores: Array) -> list[Array]:
    across = _across(scores)
    return [across[a, b] for a in range(_NEAR) for b in range(_NEAR)]


def _scales(half: int) -> list[int]:
    return [scale for scale in _SCALES if scale <= half]


def _means(areas: Array, sizes: Array) -> list[Array]:
    """At each scale: means of pairs across the gap, on either side, and how much lower across it they are."""
    columns, half = [], len(areas) // 2
    for scale in _scales(half):
        begin, end = half - scale, half + scale
        crossing, left, right = (
            area(areas, *block) / np.maximum(area(sizes, *block), 1)
            for block in ((begin, half, half, end), (begin, half, begin, half), (half, end, half, end))
        )
        columns += [crossing] if scale == 1 else [crossing, left, right, np.minimum(left, right) - crossing]
    return columns


def _links(scores: Array, pairs: Mask) -> list[Array]:
    """At each scale: the best pair across the gap, means of each shot's best, and how many pairs link both sides."""
    across = np.where(_across(pairs), _across(scores), np.float32(-_MOST))
    half, best, back = len(across), across.copy(), across.copy()
    for at in range(1, half):
        np.maximum(best[at - 1], best[at], out=best[at])  # [a, b]: the shot b after the gap and a + 1 before it
        np.maximum(back[:, at - 1], back[:, at], out=back[:, at])
    linked = [areas_of((across >= least).astype(np.float32)) for least in _LEAST_LINKS]
    columns = []
    for scale in _scales(half)[1:]:
        k = scale - 1
        columns += [best[k, :scale].max(0), total(best[k, :scale]) / scale, total(back[:scale, k]) / scale]
        columns += [counts[scale, scale] / scale for counts in linked]
    return [*columns, *best[half - 1, :_NEAR], *back[:_NEAR, half - 1]]


_NOTHING: Found = np.zeros((_SPAN, _SPAN, 1), np.float32), np.zeros((_SPAN, 1), bool)
WIDTH, TOGETHER_WIDTH = _modality(*_NOTHING).shape[1], _together([_NOTHING]).shape[1]
GROUPING = TOGETHER_WIDTH - 2 * len(_SINGLE) - len(_TOGETHER) + _TOGETHER.index((-0.2, 0.5))
"""Column of ``pictures`` with the margin of one grouping: above 0 where it has a boundary."""

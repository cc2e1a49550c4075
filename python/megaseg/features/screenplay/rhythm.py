"""Form without content: block types, relative lengths, runs, punctuation, and the cohesion of words across gaps."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from megaseg.features.screenplay.screenplay import ACTION, Block

COHESION_WINDOWS = (1, 3, 6, 10)  # blocks on each side of a gap
_HASHED = 4096
_TOGETHER = 128  # columns whose sums stay in the cache
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


def _runs(flags: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Length of the run of equal flags that ends at each row, as log1p."""
    out = np.ones(len(flags), np.float32)
    for i in range(1, len(flags)):
        if flags[i] == flags[i - 1]:
            out[i] = out[i - 1] + 1
    return np.log1p(out)


def form(blocks: Sequence[Block]) -> NDArray[np.float32]:
    """(blocks, 14): type, rank of length within the type in this movie, runs of types, endings and beginnings."""
    action = np.array([block.kind == ACTION for block in blocks])
    words = np.array([len(block.text.split()) for block in blocks], np.float64)
    rank = np.zeros(len(blocks), np.float32)
    for kind in (True, False):
        rows = action == kind
        ordered = np.sort(words[rows])
        low, high = np.searchsorted(ordered, words[rows], "left"), np.searchsorted(ordered, words[rows], "right")
        rank[rows] = (low + high) / max(1, len(ordered)) - 1
    texts = [block.text for block in blocks]
    columns = [
        np.where(action, 1, -1),
        rank,
        np.minimum(np.log1p(words) - 2.4, 3),
        _runs(action),
        _runs(action[::-1])[::-1],
        [text.endswith("?") for text in texts],
        [text.endswith("!") for text in texts],
        [text.endswith(("--", "...", "…", "—", ",")) for text in texts],
        [not re.search(r"[.?!…\-—,\"'”)]$", text) for text in texts],
        [text[:1].islower() or text.startswith(("...", "--", "…")) for text in texts],
        [text.startswith("(") for text in texts],
        [_capitals(text) for text in texts],
        [text.isupper() for text in texts],
        [bool(re.search(r"\d", text)) for text in texts],
    ]
    return np.stack([np.asarray(column, np.float32) for column in columns], 1)


def _capitals(text: str) -> float:
    """Share of words in capitals (two letters or more)."""
    found = [word for word in _WORD.findall(text) if len(word) > 1]
    return float(sum(word.isupper() for word in found) / max(1, len(found)))


def _hashed_words(blocks: Sequence[Block]) -> NDArray[np.float32]:
    """(blocks, hashes) word counts weighted by rarity within the movie; rare collisions are harmless to a cosine."""
    hashed = [
        [zlib.crc32(word.encode()) % _HASHED for word in _WORD.findall(block.text.lower()) if len(word) > 2]
        for block in blocks
    ]
    column = {value: index for index, value in enumerate(sorted(set().union(*hashed)))}
    counts = np.zeros((len(blocks), len(column)), np.float32)
    for row, own in enumerate(hashed):
        for value in own:
            counts[row, column[value]] += 1
    rarity = np.log((1 + len(blocks)) / (1 + (counts > 0).sum(0)))
    for begin in range(0, counts.shape[1], _TOGETHER):  # no copy of all in float64
        part = slice(begin, begin + _TOGETHER)
        counts[:, part] = np.log1p(counts[:, part]) * rarity[part]
    return counts


def _window_cosines(rows: NDArray[np.float32], used: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(gaps, windows): cosine of the sums over the last k and the next k used rows, standardised within the movie."""
    index = np.flatnonzero(used)
    at = np.searchsorted(index, np.arange(len(rows)), "right")  # used rows at or before each gap
    around = [(np.maximum(at - k, 0), np.minimum(at + k, len(index))) for k in COHESION_WINDOWS]
    products = np.zeros((len(around), 3, len(rows)))  # of the sums before and after: with each other, with themselves
    for begin in range(0, rows.shape[1], _TOGETHER):
        own = rows[index, begin : begin + _TOGETHER]
        sums = np.concatenate([np.zeros((1, own.shape[1])), np.cumsum(own, axis=0, dtype=np.float64)])
        here = sums[at]
        for product, (low, high) in zip(products, around, strict=True):
            before, after = here - sums[low], sums[high] - here
            for total, a, b in zip(product, (before, before, after), (after, before, after), strict=True):
                total += np.einsum("ij,ij->i", a, b)
    columns = []
    for both, before_square, after_square in products:
        norms = np.sqrt(before_square) * np.sqrt(after_square)
        cosine = np.divide(both, norms, out=np.zeros(len(rows)), where=norms > 1e-9)
        columns.append((cosine - cosine.mean()) / (cosine.std() + 1e-6))
    return np.asarray(np.clip(np.stack(columns, 1), -4, 4), np.float32)


def cohesion(blocks: Sequence[Block], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """(gaps, 16): cosines across each gap of word counts, of sentence vectors, of actions' and of speeches' vectors."""
    action = np.array([block.kind == ACTION for block in blocks])
    every = np.ones(len(blocks), bool)
    return np.concatenate(
        [
            _window_cosines(_hashed_words(blocks), every),
            _window_cosines(vectors, every),
            _window_cosines(vectors, action),
            _window_cosines(vectors, ~action),
        ],
        axis=1,
    )

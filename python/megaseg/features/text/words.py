"""Words as hashes: enough to see that two texts share rare ones, not enough to read either."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

BINS = 4096
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


def hashes(text: str) -> Iterable[int]:
    """The bin of every word of three letters or more; possessives count as their owners."""
    for word in _WORD.findall(text.lower()):
        base = word.removesuffix("'s").removesuffix("’s")
        if len(base) > 2:
            yield zlib.crc32(base.encode()) % BINS


def hashed_words(texts: Sequence[str]) -> NDArray[np.uint8]:
    """(texts, 4096) 1 where a text has a word of that bin."""
    found = np.zeros((len(texts), BINS), np.uint8)
    for row, text in enumerate(texts):
        found[row, list(hashes(text))] = 1
    return found

"""``.scenes.txt``: first and last frame of one shot a line, from 0, as TransNetV2 writes them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from megaseg.errors import FeatureError
from megaseg.media.shots.lists.clock import FilmClock


def read(text: str, film: FilmClock) -> NDArray[np.int64]:
    """Shots (n, 2) of the text.

    Raises:
        FeatureError: a line that is not two frames; names the line.
    """
    spans = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.replace(",", " ").split()
        if not words:
            continue
        if len(words) != 2 or not all(word.isdecimal() for word in words):
            raise FeatureError(f"line {number}: expected first and last frame, got {line[:80]!r}")
        spans.append([int(word) for word in words])
    return np.array(spans, np.int64).reshape(-1, 2)


def write(shots: NDArray[np.int64], film: FilmClock) -> str:
    return "".join(f"{first} {last}\n" for first, last in shots.tolist())

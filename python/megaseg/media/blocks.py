"""Block means and differences of small frames, as several measures need them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from megaseg.media.measures import CHROMA, LUMA

Bytes = NDArray[np.uint8]


def block_sums(planes: Bytes, rows: int, columns: int) -> NDArray[np.float32]:
    """Sums (n, height / rows, width / columns) over blocks of planes (n, height, width)."""
    count, height, width = planes.shape
    bands = np.add.reduce(planes.reshape(count, height // rows, rows, width), axis=2, dtype=np.uint16)
    return np.add.reduceat(bands, np.arange(0, width, columns), axis=2, dtype=np.float32)


def differences(planes: Bytes) -> NDArray[np.uint8]:
    """Absolute differences (n - 1, height, width) of each plane (n, height, width) to the one before."""
    after, before = planes[1:], planes[:-1]
    return np.maximum(after, before) - np.minimum(after, before)


def mean_changes(luma: Bytes, chroma: Bytes) -> NDArray[np.float32]:
    """Mean change (n - 1,) of a frame in grey levels: the sum of the mean absolute differences of Y, Cb and Cr."""
    light = np.add.reduce(differences(luma).reshape(len(luma) - 1, -1), axis=1, dtype=np.uint32)
    colour = np.add.reduce(differences(chroma.reshape(len(chroma), -1)), axis=1, dtype=np.uint32)
    return np.asarray(light / (LUMA[0] * LUMA[1]) + colour / (CHROMA[0] * CHROMA[1]), np.float32)

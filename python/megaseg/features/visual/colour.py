"""``colour``: which colours a picture has, and where."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

HUES, SATURATIONS, BRIGHTNESSES = 16, 4, 4
CELLS = 7  # rows and columns of the layout
STRIDE = 2  # every second row and column of a picture goes into the histogram
BITS = 5  # of each of R, G and B, by which the bin of a colour is looked up


class ColourMeasure:
    """HSV histogram (256) and layout (147) of pictures.

    The histogram is that of shares, each under its root, so that products of two are Bhattacharyya's coefficient and
    its length is 1. The layout is the mean R, G and B of 7 x 7 cells, of length 1 for a white picture.
    """

    name = "colour"
    width = HUES * SATURATIONS * BRIGHTNESSES + 3 * CELLS**2
    identity = "colour/1"

    def measure(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Values (k, 403); see ``PictureMeasure``."""
        return np.concatenate([_histograms(pictures), _layouts(pictures)], 1)


def _histograms(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    count, bins = len(pictures), HUES * SATURATIONS * BRIGHTNESSES
    red, green, blue = np.moveaxis(pictures[:, ::STRIDE, ::STRIDE] >> (8 - BITS), -1, 0).astype(np.uint16)
    found = _bins()[(red << 2 * BITS) | (green << BITS) | blue]  # (k, rows, columns)
    of_all = found + bins * np.arange(count)[:, None, None]
    counts = np.bincount(of_all.ravel(), minlength=bins * count).reshape(count, bins)
    return np.asarray(np.sqrt(counts / (red.shape[1] * red.shape[2])), np.float32)


def _layouts(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    count, rows, columns, _ = pictures.shape
    cells = pictures.reshape(count, CELLS, rows // CELLS, CELLS, columns // CELLS * 3)
    sums = np.add.reduce(cells, axis=2, dtype=np.uint16).reshape(count, CELLS, CELLS, columns // CELLS, 3)
    means = sums.sum(3) / (255 * (rows // CELLS) * (columns // CELLS))
    return np.asarray(means.reshape(count, 3 * CELLS**2) / (3**0.5 * CELLS), np.float32)


@cache
def _bins() -> NDArray[np.uint8]:
    """Bin of the HSV histogram of every colour of ``BITS`` bits a channel."""
    steps = 1 << BITS
    rgb = np.stack(np.meshgrid(*[np.arange(steps) / (steps - 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
    high, low = rgb.max(1), rgb.min(1)
    spread = np.maximum(high - low, 1e-9)
    red, green, blue = rgb.T
    sixths = np.select(
        [high == low, high == red, high == green],
        [0.0, (green - blue) / spread % 6, (blue - red) / spread + 2],
        (red - green) / spread + 4,
    )
    hue = np.minimum(sixths / 6 * HUES, HUES - 1).astype(int)
    saturation = np.minimum((high - low) / np.maximum(high, 1e-9) * SATURATIONS, SATURATIONS - 1).astype(int)
    brightness = np.minimum(high * BRIGHTNESSES, BRIGHTNESSES - 1).astype(int)
    return np.asarray((hue * SATURATIONS + saturation) * BRIGHTNESSES + brightness, np.uint8)

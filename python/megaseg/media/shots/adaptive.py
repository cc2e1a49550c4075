"""``adaptive``: the default shot detector, which compares a frame's change with the changes around it.

The measure is cheap enough for the decoding pass: differences of small frames and of their block means.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.media.blocks import block_sums, mean_changes
from megaseg.media.measures import MeasureSpec, SmallFrames
from megaseg.media.shots.cuts import runs, shots_between

SPANS = (1, 2, 4, 12)  # frames on either side of a gap: a cut, flashes of 1 to 3 frames, a gradual change
BLOCK = (9, 12)  # rows and columns of one block mean, of luma and of chroma
NEIGHBOURS = 3  # frames on either side that a cut's change is compared with
RATIO = 3.0  # a cut changes this many times as much as the frames around it
MIN_CUT = 9.0  # grey levels, of points
MIN_BLOCKS = 7.5  # grey levels, of block means: what moves within blocks is no cut
DIM = (0.4, 80.0)  # both are smaller in a frame of less than this mean luma, down to this share
FLASH = 0.5  # a flash returns: across it less than this share of the change remains
LONGEST_FLASH = 3
MIN_GRADUAL = 9.0  # grey levels between block means 24 frames apart
STEADY = 0.8  # share of a gradual change within its middle 8 frames; more is motion
GRADUAL_RATIO = 3.0  # a gradual change is this many times as large as the change before and after it
PLATEAU = 0.97  # of a peak, whose middle is that of the gradual change
BLACK = 24.0  # mean luma below which a flat frame is black; video black is 16
FLAT = 5.0  # standard deviation of luma

Floats = NDArray[np.float32]


class AdaptiveMeasure:
    """Change before every frame, in grey levels, and its brightness.

    Column 0 is the mean difference of all points to the frame before, columns 1 to 4 the mean difference of block means
    between the frames ``SPANS`` before and after the gap, columns 5 and 6 mean and standard deviation of luma.
    """

    name = "adaptive"
    width = len(SPANS) + 3
    context = max(SPANS)
    step = 200
    identity = "adaptive/1"

    def measure(self, frames: SmallFrames) -> Floats:
        """Values (n - 24, 7); see ``FrameMeasure``."""
        first, count = self.context, len(frames) - 2 * self.context
        inside = slice(first, first + count)
        means = _block_means(frames)
        luma = frames.luma[inside].reshape(count, -1)
        values = np.empty((count, self.width), np.float32)
        values[:, 0] = mean_changes(*(plane[first - 1 : first + count] for plane in (frames.luma, frames.chroma)))
        for column, span in enumerate(SPANS, 1):
            after, before = means[first + span - 1 :][:count], means[first - span :][:count]
            values[:, column] = np.abs(after - before).mean(1)
        values[:, -2] = luma.mean(1)
        values[:, -1] = luma.astype(np.float32).std(1)
        return values


def _block_means(frames: SmallFrames) -> Floats:
    """Means (frames, 288) of 12 x 16 blocks of luma and 6 x 8 of Cb and Cr."""
    count = len(frames)
    chroma = frames.chroma.reshape(2 * count, *frames.chroma.shape[2:])
    sums = [block_sums(planes, *BLOCK).reshape(count, -1) for planes in (frames.luma, chroma)]
    return np.concatenate(sums, 1) / np.float32(BLOCK[0] * BLOCK[1])


class AdaptiveDetector:
    """Cuts, dissolves and fades from ``AdaptiveMeasure``."""

    name = "adaptive"

    def __init__(self, *, num_threads: int = 0) -> None:
        self.measure = MeasureSpec.of(AdaptiveMeasure)

    def shots(self, values: Floats, frame_ticks: NDArray[np.int64]) -> NDArray[np.int64]:
        """First and last frame (n, 2); see ``ShotDetector``."""
        if not len(values):
            return np.empty((0, 2), np.int64)
        sudden = _sudden(values)
        through_black = _through_black(values)
        gradual = _without(_gradual(values), np.concatenate([sudden, through_black]), 2 * max(SPANS))
        cuts = np.concatenate([_without(sudden, through_black, max(SPANS)), gradual, through_black])
        return shots_between(cuts, len(values))


def _sudden(values: Floats) -> NDArray[np.int64]:
    """Frames before which there is a cut."""
    change = values[:, 0].astype(np.float64)
    change[0] = 0.0  # the first frame has none before it
    padded = np.pad(change, NEIGHBOURS, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * NEIGHBOURS + 1)
    around = (windows.sum(1) - change) / (2 * NEIGHBOURS)
    across = values[:, 2 : len(SPANS)].min(1)  # what remains two and four frames on either side
    least = np.clip(np.maximum(values[:, -2], np.roll(values[:, -2], 1)) / DIM[1], DIM[0], 1)
    large = (change >= MIN_CUT * least) & (values[:, 1] >= MIN_BLOCKS * least)
    return np.flatnonzero(large & (change >= RATIO * around) & (across >= FLASH * values[:, 1]))


def _gradual(values: Floats) -> NDArray[np.int64]:
    """Middles of dissolves and fades: peaks of the change over the longest span."""
    reach = max(SPANS)
    far = _over(_over(values[:, len(SPANS)], LONGEST_FLASH, np.min), LONGEST_FLASH, np.max)
    padded = np.pad(far, 2 * reach, mode="edge")
    peak = _over(far, reach, np.max)
    beside = np.maximum(padded[: -4 * reach], padded[4 * reach :])
    gradual = (far >= PLATEAU * peak) & (far >= MIN_GRADUAL) & (far >= GRADUAL_RATIO * beside)
    middles = _middles(runs(gradual))
    steady = values[middles, len(SPANS) - 1] <= STEADY * values[middles, len(SPANS)]
    return np.asarray(middles[steady], np.int64)


def _over(values: Floats, reach: int, reduce: Callable[..., Any]) -> Floats:
    """Minimum or maximum over each value and ``reach`` values on either side."""
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(values, reach, mode="edge"), 2 * reach + 1)
    return np.asarray(reduce(windows, 1), np.float32)


def _through_black(values: Floats) -> NDArray[np.int64]:
    """Middles of black between two pictures."""
    black = runs((values[:, -2] < BLACK) & (values[:, -1] < FLAT))
    inside = (black[:, 0] > 0) & (black[:, 1] < len(values))
    return _middles(black[inside])


def _middles(found: NDArray[np.int64]) -> NDArray[np.int64]:
    return (found[:, 0] + found[:, 1]) // 2


def _without(frames: NDArray[np.int64], others: NDArray[np.int64], reach: int) -> NDArray[np.int64]:
    """Those of ``frames`` that are at least ``reach`` frames from all ``others``."""
    distances = np.abs(frames[:, None] - others).min(1, initial=reach)
    return np.asarray(frames[distances >= reach], np.int64)

"""``motion``: how much of a picture moves, where, and how bright it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from megaseg.media.blocks import block_sums, differences, mean_changes
from megaseg.media.measures import SmallFrames

CELLS = (36, 64)  # rows and columns of luma in one of 3 x 3 cells


class MotionMeasure:
    """Motion and brightness of every frame, each about 0 to 1.

    Column 0 is the mean change of Y, Cb and Cr since the frame before, 1 to 9 the change of luma in 3 x 3 cells, 10 to
    18 the luma of these cells, 19 the standard deviation of luma, 20 and 21 mean Cb and Cr, 22 their mean distance from
    grey.
    """

    name = "motion"
    width = 23
    context = 1
    step = 200
    identity = "motion/1"

    def measure(self, frames: SmallFrames) -> NDArray[np.float32]:
        """Values (n - 2, 23); see ``FrameMeasure``."""
        luma, chroma = frames.luma[:-1], frames.chroma[:-1]
        count = len(luma) - 1
        grid = np.float32(255 * CELLS[0] * CELLS[1])
        colour = chroma[1:].reshape(2 * count, 1, -1)
        from_grey = np.maximum(colour, 128) - np.minimum(colour, 128)
        columns = [
            mean_changes(luma, chroma)[:, None] / 255,
            block_sums(differences(luma), *CELLS).reshape(count, -1) / grid,
            block_sums(luma[1:], *CELLS).reshape(count, -1) / grid,
            luma[1:].reshape(count, -1).astype(np.float32).std(1, keepdims=True) / 128,
            colour.mean(2, dtype=np.float32).reshape(count, 2) / 255,
            from_grey.mean(2, dtype=np.float32).reshape(count, 2).mean(1, keepdims=True) / 128,
        ]
        return np.concatenate(columns, 1).astype(np.float32)

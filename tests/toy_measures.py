"""Measures for tests that are quick, and that show when frames, context or batches differ."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.media.measures import Measures, MeasureSpec, SmallFrames


class Levels:
    """Mean luma, Cb and Cr of every frame, and of the frames around it."""

    name = "levels"
    width = 4

    def __init__(self, context: int = 2, step: int = 100) -> None:
        self.context, self.step = context, step
        self.identity = f"levels/{context}"

    def measure(self, frames: SmallFrames) -> NDArray[np.float32]:
        luma, chroma = frames.luma.mean((1, 2)), frames.chroma.mean((2, 3))
        inner = slice(self.context, len(frames) - self.context)
        width = 2 * self.context + 1
        around = np.convolve(luma, np.ones(width) / width, "valid")
        return np.column_stack([luma[inner], chroma[inner], around]).astype(np.float32)


class Corners:
    """The four corners of every small frame's luma, from the upper left one clockwise."""

    name, width, context, step, identity = "corners", 4, 0, 60, "corners/1"

    def measure(self, frames: SmallFrames) -> NDArray[np.float32]:
        luma = frames.luma[:, [4, 4, -5, -5], [4, -5, -5, 4]]
        return luma.astype(np.float32)


class Colours:
    """Mean colour of pictures."""

    name, width, identity = "colours", 3, "colours/1"

    def measure(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        return pictures.mean((1, 2)).astype(np.float32)


class Loudness:
    """Root mean square of the sound."""

    name, width, identity = "loudness", 1, "loudness/1"

    def measure(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.sqrt((rows.astype(np.float64) ** 2).mean(1, keepdims=True)).astype(np.float32)


class Wrong:
    """A measure of every frame that gives too few values."""

    name, width, context, step, identity = "wrong", 1, 0, 60, "wrong/1"

    def measure(self, frames: SmallFrames) -> NDArray[np.float32]:
        return np.zeros((1, 1), np.float32)


def spec(measure: type, **options: Any) -> MeasureSpec:
    """Specification of one of these."""
    return MeasureSpec(f"{__name__}:{measure.__name__}", options)


ALL = Measures(
    frames=(spec(Levels), spec(Corners)), pictures=(spec(Colours),), sound=(spec(Loudness),), thumbnails=True
)

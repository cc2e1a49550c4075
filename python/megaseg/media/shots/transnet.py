"""``transnetv2``: shots by the network TransNetV2 (Soucek and Lokoc 2020; MIT, see the licence beside the weights)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from megaseg.media.blocks import block_sums
from megaseg.media.measures import MeasureSpec, SmallFrames
from megaseg.media.onnx_session import OnnxNetwork
from megaseg.media.shots.cuts import runs, shots_between
from megaseg.weights import weights_file

WEIGHTS = "transnetv2.onnx"
WINDOW = 150  # frames that the network sees at once
THRESHOLD = 0.5  # of an end: the authors'
GOES_ON = 0.2  # of a transition: ends within one are the same
BLOCK = 4  # rows and columns of luma in one point of the network's frames of 27 x 48; half as many of chroma


class TransNetMeasure:
    """Probabilities of every frame: to be the one at which a shot ends, and to belong to a transition."""

    name = "transnetv2"
    width = 2
    context = 25
    step = WINDOW - 2 * context
    identity = "transnetv2/1"

    def __init__(self, *, num_threads: int = 0) -> None:
        self._network = OnnxNetwork(weights_file(WEIGHTS, extra="video"), num_threads=num_threads)

    def measure(self, frames: SmallFrames) -> NDArray[np.float32]:
        """Values (n - 50, 2) of at most 150 frames; see ``FrameMeasure``."""
        rgb = small_rgb(frames)
        missing = [(0, WINDOW - len(rgb)), (0, 0), (0, 0), (0, 0)]  # at the film's end, where the last frame goes on
        (values,) = self._network(np.pad(rgb, missing, mode="edge"))
        return values[self.context : len(rgb) - self.context]


class TransNetDetector:
    """Shots that end in the middle of the ends that TransNetV2 finds in one transition."""

    name = "transnetv2"

    def __init__(self, *, num_threads: int = 0) -> None:
        self.measure = MeasureSpec.of(TransNetMeasure, num_threads=num_threads)

    def shots(self, values: NDArray[np.float32], frame_ticks: NDArray[np.int64]) -> NDArray[np.int64]:
        """First and last frame (n, 2); see ``ShotDetector``."""
        ends = values[:, 0] > THRESHOLD
        cuts = []
        for begin, end in runs(ends | (values[:, 1] > GOES_ON)):
            inside = begin + np.flatnonzero(ends[begin:end])
            cuts += [int(inside[0] + inside[-1]) // 2 + 1] if len(inside) else []
        return shots_between(np.array(cuts, np.int64), len(values))


def small_rgb(frames: SmallFrames) -> NDArray[np.uint8]:
    """Frames as RGB (n, 27, 48, 3): means over blocks, by the equations of BT.601 for limited range."""
    count = len(frames)
    chroma = frames.chroma.reshape(2 * count, *frames.chroma.shape[2:])
    luma = block_sums(frames.luma, BLOCK, BLOCK) / np.float32(BLOCK**2)
    rows, columns = luma.shape[1:]
    means = block_sums(chroma, BLOCK // 2, BLOCK // 2).reshape(count, 2, rows, columns) / np.float32(BLOCK**2 / 4)
    light, blue, red = (luma - 16) * np.float32(255 / 219), means[:, 0] - 128, means[:, 1] - 128
    rgb = np.stack([light + 1.596 * red, light - 0.392 * blue - 0.813 * red, light + 2.017 * blue], -1)
    return np.asarray(np.clip(np.rint(rgb), 0, 255), np.uint8)

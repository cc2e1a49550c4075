"""``efficientnet``: what a picture shows, by EfficientNet-Lite0 with ImageNet's weights (Apache-2.0)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from megaseg.media.onnx_session import OnnxNetwork
from megaseg.weights import weights_file

WEIGHTS = "efficientnet_lite0.onnx"
BATCH = 8  # pictures at once; more take memory and save no time


class EfficientNetMeasure:
    """The pooled last layer (1,280) of EfficientNet-Lite0."""

    name = "efficientnet"
    width = 1280
    identity = "efficientnet-lite0/1"

    def __init__(self, *, num_threads: int = 0) -> None:
        self._network = OnnxNetwork(weights_file(WEIGHTS, extra="video"), num_threads=num_threads)

    def measure(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Values (k, 1280); see ``PictureMeasure``."""
        batches = [self._network(pictures[begin : begin + BATCH])[0] for begin in range(0, len(pictures), BATCH)]
        return np.concatenate([np.empty((0, self.width), np.float32), *batches])

"""Optimal sequential grouping as a checkpoint of which nothing is trained."""

from __future__ import annotations

import numpy as np

from megaseg.engine.model.additive import AdditiveConfig
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.features.video.neighbours import GROUPING
from megaseg.features.video.similarity import MODALITIES, RECIPE

_TIE = 1e-3  # margin below which there is no boundary, as in films without pictures


def grouping_checkpoint() -> Checkpoint:
    """The shipped ``optimal-grouping``: of visual and colour features together, around each gap (``groupings``).

    The number of scenes follows from the shots. P(boundary) is the logistic function of twice the margin of the best
    grouping with a boundary over the best without one, so that the threshold is 0.5.
    """
    config = AdditiveConfig("scene", MODALITIES, hidden_size=2, threshold=0.5, recipe=RECIPE)
    tensors = {name: np.zeros(shape, np.float32) for name, shape in config.tensor_shapes().items()}
    tensors["modalities.pictures.hidden.weight"][:, GROUPING] = 1, -1  # the margin's two signs
    tensors["modalities.pictures.head.weight"][:] = [[-1, 1], [1, -1]]
    tensors["bias"][:] = _TIE, -_TIE
    return Checkpoint(config, tensors, {"training": '{"data": "none: optimal sequential grouping of shots"}'})

"""Small made films: raw features of shots in scenes, with times; and a small model that reads them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from megaseg.engine.inputs.features import Features
from megaseg.engine.model.additive import AdditiveConfig
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.features.video.similarity import MODALITIES, RECIPE

BASE = Fraction(1, 25)


def film(shots: int = 60, seed: int = 0, names: tuple[str, ...] = ("visual", "colour"), width: int = 16) -> Features:
    """A film whose scenes of about six shots have a place of their own in each modality."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shots, np.uint8)
    labels[5::6] = 1
    labels[-1] = 1
    scene = np.append(0, labels.cumsum(dtype=np.int64)[:-1])
    arrays = {}
    for name in names:
        places = rng.standard_normal((int(scene[-1]) + 1, width))
        arrays[name] = (places[scene] + 0.7 * rng.standard_normal((shots, width))).astype(np.float32)
    starts = rng.integers(20, 200, shots).cumsum()
    times = np.stack([starts, np.append(starts[1:], starts[-1] + 50)], axis=1)
    return Features(arrays, times, BASE, labels)


def part(features: Features, begin: int, end: int) -> Features:
    """Shots begin to end."""
    arrays = {name: array[begin:end] for name, array in features.modalities.items()}
    times = None if features.times is None else features.times[begin:end]
    labels = None if features.labels is None else features.labels[begin:end]
    return Features(arrays, times, features.time_base, labels, features.recipe)


def additive_checkpoint(seed: int = 0) -> Checkpoint:
    """A small model of family additive with random weights."""
    rng = np.random.default_rng(seed)
    config = AdditiveConfig("scene", MODALITIES, hidden_size=5, threshold=0.4, recipe=RECIPE)
    shapes = config.tensor_shapes()
    return Checkpoint(config, {n: (0.3 * rng.standard_normal(s)).astype(np.float32) for n, s in shapes.items()})

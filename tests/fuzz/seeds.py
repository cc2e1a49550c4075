"""Small valid files of each fuzz target, from which mutation starts."""

from __future__ import annotations

import io

import numpy as np
from safetensors.numpy import save
from support import random_checkpoint, random_features, small_config

from megaseg.engine.config import FORMAT
from megaseg.engine.segmentation import Decision, Segmentation


def seeds(target: str) -> list[bytes]:
    """Valid inputs of a target."""
    config = small_config(modalities=small_config().modalities[:1], hidden_size=2, ffn_size=1, num_heads=1)
    arrays = {**random_features(config, 2), "labels": np.array([0, 1], np.uint8)}
    if target == "checkpoint":
        metadata = {"format": FORMAT, "config": config.to_json()}
        return [save(dict(random_checkpoint(config).tensors), metadata)]
    if target == "safetensors":
        return [save(arrays, {"recipe": "a/1"})]
    if target == "npz":
        stream = io.BytesIO()
        np.savez(stream, **arrays, times=np.zeros((2, 2), np.int64), time_base=np.array([1, 24]))
        return [stream.getvalue()]
    scores = (("scene", np.full(3, 0.5, np.float32)), ("act", np.full((3, 2), 0.5, np.float32)))
    return [Segmentation.from_scores(task, values, Decision()).to_json().encode() for task, values in scores]

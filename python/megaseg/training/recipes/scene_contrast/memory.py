"""Memory of a training step, estimated before it is taken."""

from __future__ import annotations

from collections.abc import Mapping

from megaseg.training.memory import FLOAT, require_memory
from megaseg.training.recipes.scene_contrast.config import SceneContrastConfig


def estimated_bytes(config: SceneContrastConfig, widths: Mapping[str, int], parameters: int, queue: int) -> int:
    """Most bytes that a step of training holds, to within about a factor of 1.5, beside the model.

    Args:
        config: sizes.
        widths: scaled features a shot, by modality.
        parameters: weights of the model with its projection.
        queue: keys that are kept.
    """
    rows = config.batch_size * (config.length + 1)
    layer = 10 * config.hidden_size + 3 * config.ffn_size
    features = 3 * sum(widths.values())
    contrast = queue * (config.projection_size + 3 * config.batch_size)
    states = 6 * parameters  # gradient, two moments, average, best weights, the encoder of keys
    return FLOAT * (rows * (config.num_layers * layer + features) + contrast + states)


def check_memory(config: SceneContrastConfig, widths: Mapping[str, int], parameters: int, queue: int) -> None:
    """Refuse a batch that does not fit the memory that is free; arguments as ``estimated_bytes``.

    Raises:
        ResourceLimitError: says how much a batch takes, and how much is free.
    """
    needed = estimated_bytes(config, widths, parameters, queue)
    require_memory(needed, "batch_size", f"{config.batch_size} scene pairs beside {queue} keys")

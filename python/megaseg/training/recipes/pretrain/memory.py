"""Memory of a training step, estimated before it is taken: a batch too large for this machine is refused by name."""

from __future__ import annotations

from collections.abc import Mapping

from megaseg.training.memory import FLOAT, require_memory
from megaseg.training.recipes.pretrain.config import PretrainConfig


def estimated_bytes(
    config: PretrainConfig, widths: Mapping[str, int], parameters: int, windows: int, tokens: int
) -> int:
    """Most bytes that a step of training holds, to within about a factor of 1.5 beside what the model takes already.

    Args:
        config: sizes and losses.
        widths: scaled features a token, by modality.
        parameters: weights of the model.
        windows: of a batch.
        tokens: most rows of a window, of whichever modality.
    """
    rows = windows * tokens
    long_range = config.family == "long_range"
    stacks = (len(widths) if long_range else 1) + 5 * (long_range and config.has("cross"))
    layer = 10 * config.hidden_size + 3 * config.ffn_size
    features = 3 * sum(widths.values())
    share = 1.0 if config.asked == "all" else config.mask_share
    asked = share if config.has("intra") else 0.0
    candidates = rows * (share if config.candidates == "asked" else 1.0)
    products = len(widths) * 3 * asked * candidates * (config.objective != "regression")
    pairs = 4 * rows * (config.has("inter") or config.has("cross"))
    states = 4 * parameters  # gradient, two moments, best weights
    return int(FLOAT * (rows * (stacks * config.num_layers * layer + features + products + pairs) + states))


def check_memory(config: PretrainConfig, widths: Mapping[str, int], parameters: int, windows: int, tokens: int) -> None:
    """Refuse a batch that does not fit the memory that is free; arguments as ``estimated_bytes``.

    Raises:
        ResourceLimitError: says how much a batch takes, and how much is free.
    """
    needed = estimated_bytes(config, widths, parameters, windows, tokens)
    require_memory(needed, "batch_size", f"{windows} windows of {config.length} shots")

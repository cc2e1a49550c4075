"""Memory of a training step, estimated before it is taken: a batch too large for this machine is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from megaseg.errors import ResourceLimitError
from megaseg.training.recipes.pretrain.config import PretrainConfig

_FLOAT = 4  # bytes
_CGROUP = Path("/sys/fs/cgroup")


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
    return int(_FLOAT * (rows * (stacks * config.num_layers * layer + features + products + pairs) + states))


def check_memory(config: PretrainConfig, widths: Mapping[str, int], parameters: int, windows: int, tokens: int) -> None:
    """Refuse a batch that does not fit the memory that is free; arguments as ``estimated_bytes``.

    Raises:
        ResourceLimitError: says how much a batch takes, how much is free, and which batch size would fit.
    """
    free, needed = free_bytes(), estimated_bytes(config, widths, parameters, windows, tokens)
    if free is None or needed <= free:
        return
    raise ResourceLimitError(
        f"batch_size: expected a batch that fits {free / 2**30:.1f} GiB of free memory, got {windows} "
        f"windows of {config.length} shots, an estimated {needed:,} bytes ({needed / 2**30:.1f} GiB); smaller batches "
        "or models take less"
    )


def free_bytes() -> int | None:
    """Memory that this process may still take: of the machine and of its control group; None where neither says."""
    limits = [_available(Path("/proc/meminfo")), _left(_CGROUP)]
    return min((limit for limit in limits if limit is not None), default=None)


def _available(path: Path) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _left(group: Path) -> int | None:
    try:
        return int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
    except (OSError, ValueError):  # no limit: "max"
        return None

"""Memory that is free, and an error for a training step that would not fit."""

from __future__ import annotations

from pathlib import Path

from megaseg.errors import ResourceLimitError

_CGROUP = Path("/sys/fs/cgroup")


def require_memory(needed: int, batch: str) -> None:
    """Refuse a batch that does not fit the memory that is free.

    Args:
        needed: estimated bytes.
        batch: what the batch is, for the error.

    Raises:
        ResourceLimitError: says how much the batch takes and how much is free.
    """
    free = free_bytes()
    if free is not None and needed > free:
        raise ResourceLimitError(
            f"batch_size: expected a batch that fits {free / 2**30:.1f} GiB of free memory, got {batch}, "
            f"an estimated {needed:,} bytes ({needed / 2**30:.1f} GiB); smaller batches or models take less"
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

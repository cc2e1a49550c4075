"""Memory that is free, and an error in place of the kernel's where a training step needs more."""

from __future__ import annotations

from pathlib import Path

from megaseg.errors import ResourceLimitError

FLOAT = 4  # bytes
_CGROUP = Path("/sys/fs/cgroup")


def require_memory(needed: int, option: str, got: str) -> None:
    """Refuse what does not fit the memory that is free.

    Args:
        needed: estimated bytes.
        option: the option that sets their number.
        got: what it asks for, for the error.

    Raises:
        ResourceLimitError: says how much it takes and how much is free.
    """
    free = free_bytes()
    if free is not None and needed > free:
        raise ResourceLimitError(
            f"{option}: expected what fits {free / 2**30:.1f} GiB of free memory, got {got}, "
            f"an estimated {needed:,} bytes ({needed / 2**30:.1f} GiB)"
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

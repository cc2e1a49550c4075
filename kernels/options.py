"""Options of compiled code, which takes whole numbers of a fixed size."""

from __future__ import annotations

from numbers import Integral

from megaseg.errors import UnsupportedError

MOST_THREADS = 4096  # a mistake, not a machine


def threads(num_threads: object) -> int:
    """``num_threads`` as an int: 0 (every usable core) to 4096.

    Raises:
        UnsupportedError: anything else.
    """
    return _whole("num_threads", num_threads, 0, MOST_THREADS, f"0 (every usable core) to {MOST_THREADS}")


def memory(memory_limit: object) -> int | None:
    """``memory_limit`` as an int, or None.

    Raises:
        UnsupportedError: not a positive whole number.
    """
    if memory_limit is None:
        return None
    return _whole("memory_limit", memory_limit, 1, 2**63 - 1, "a positive whole number of bytes or None")


def _whole(name: str, value: object, least: int, most: int, expected: str) -> int:
    if isinstance(value, Integral) and not isinstance(value, bool) and least <= int(value) <= most:
        return int(value)
    raise UnsupportedError(f"{name}: expected {expected}, got {value!r:.40}")

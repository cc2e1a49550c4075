"""What Linux has and other systems lack, each with what takes its place there."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LOOK = 0.5  # seconds between two looks at whether the parent lives


def usable_cpus() -> int:
    """CPUs that this process may use: those of its affinity, or all of them on a system without affinities."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def passing_file() -> Iterator[Path]:
    """An empty file for as long as the context: in memory on Linux, elsewhere in the folder of temporary files.

    Raises:
        OSError: no such file can be made.
    """
    if not hasattr(os, "memfd_create"):
        with tempfile.NamedTemporaryFile(prefix="megaseg-") as file:
            yield Path(file.name)
        return
    handle = os.memfd_create("megaseg")
    try:
        yield Path(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)


def die_with(parent: int) -> None:
    """Let this process end when its parent ends, or now if the parent has already ended.

    Linux kills it; elsewhere a thread looks twice a second.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    _end_without(parent)


def lower_priority(nice: int) -> None:
    """Give this thread a nice value. No-op on systems where that belongs to the process."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)


def _watch(parent: int) -> None:
    while True:
        _end_without(parent)
        time.sleep(_LOOK)


def _end_without(parent: int) -> None:
    if os.getppid() != parent:
        os._exit(1)

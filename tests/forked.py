"""A forked child of a test: it never returns into pytest, and one that hangs is ended."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

ESCAPED = 99


def status_of_fork(call: Callable[[], int], seconds: float = 30) -> int:
    """The exit status that ``call()`` gives a forked child; ESCAPED if it raises, -SIGKILL if it hangs.

    A child may hang before its first line, in a lock that another thread held at the fork: an alarm of its own would
    come too late.
    """
    child = os.fork()
    if child == 0:
        status = ESCAPED
        try:
            status = call()
        finally:
            os._exit(status)
    end = time.monotonic() + seconds
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.005)
    return os.waitstatus_to_exitcode(ended[1])

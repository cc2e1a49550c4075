"""Calls for children of ``megaseg.media.child``, each of which ends in its own way."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from typing import Any

import numpy as np

from megaseg.errors import UnsupportedError
from megaseg.media.child import Tell


def add(left: int, right: int, *, tell: Tell) -> int:
    """Send two messages and return the sum."""
    tell({"left": left})
    tell({"right": right})
    return left + right


def chat(*, tell: Tell) -> str:
    """Write to the standard output as libraries do."""
    print("not JSON")
    os.write(1, b"nor this\n")
    return "done"


def refuse(*, tell: Tell) -> None:
    """Raise an error of the family."""
    raise UnsupportedError("no such extra")


def fail(*, tell: Tell) -> None:
    """Raise an error that nobody expects."""
    raise ZeroDivisionError("of some library")


def crash(*, tell: Tell) -> None:
    """Read from address 0."""
    ctypes.string_at(0)


def fill(mebibytes: int, *, tell: Tell) -> int:
    """Allocate and touch memory."""
    return int(np.ones(mebibytes << 20, np.uint8).sum())


def hang(*, tell: Tell) -> None:
    """Send the process's number and fall silent."""
    tell(os.getpid())
    time.sleep(600)


def environment(*, tell: Tell) -> Any:
    """What a child finds: the module path, its group's number and its own."""
    return [sys.path, os.getpgid(0), os.getpid()]

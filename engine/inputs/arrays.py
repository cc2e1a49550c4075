"""Arrays in NumPy's files, nothing unpickled; safe in threads.

NumPy parses an array's header with ``ast``, whose depth CPython 3.11 keeps once for all threads (its issue 106905): one
that parses meanwhile makes the other fail with ``SystemError``, which is no fault of the file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from megaseg.errors import FeatureError

_TRIES = 16


def map_array(path: str | os.PathLike[str]) -> NDArray[Any]:
    """The array of a ``.npy`` file, mapped for reading.

    Raises:
        OSError, ValueError, EOFError: an unreadable file.
    """
    array: NDArray[Any] = _parsed(partial(np.load, path, mmap_mode="r", allow_pickle=False))
    return array


def read_members(source: str | os.PathLike[str] | BinaryIO) -> dict[str, NDArray[Any]]:
    """The arrays of an ``.npz``.

    Raises:
        FeatureError: a name twice, of which one would be read in silence, or a member that is no array; names it.
        OSError, ValueError, EOFError, zipfile.BadZipFile: an unreadable file.
    """
    arrays: dict[str, NDArray[Any]] = {}
    with np.load(source, allow_pickle=False) as file:
        for name in file.files:
            if name in arrays:
                raise FeatureError(f"{name}: expected one array of this name, got two in the archive")
            try:
                arrays[name] = _parsed(partial(file.__getitem__, name))
            except ValueError as error:
                raise FeatureError(f"{name}: expected an array of numbers, got: {error}") from error
    return arrays


def _parsed(read: Callable[[], Any]) -> Any:
    """What ``read`` gives, after a few tries where other threads disturb it."""
    for _ in range(_TRIES - 1):
        with suppress(SystemError):
            return read()
    return read()

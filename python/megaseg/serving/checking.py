"""Checks whose work grows with their input, off the event loop where that would hold it up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from megaseg.engine.features import Features

_LARGE = 1 << 18  # bytes: a quarter of a MiB is checked or decoded in well under a millisecond

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


async def off_loop(
    size: int, function: Callable[_Given, _Result], *arguments: _Given.args, **keywords: _Given.kwargs
) -> _Result:
    """Call a function that works on ``size`` bytes: in a thread where they are many."""
    if size > _LARGE:
        return await asyncio.to_thread(function, *arguments, **keywords)
    return function(*arguments, **keywords)


async def checked(arrays: Mapping[str, Any]) -> Features:
    """``Features.from_mapping`` off the event loop.

    Raises:
        FeatureError: as that does.
    """
    size = sum(array.nbytes for array in arrays.values() if hasattr(array, "nbytes"))
    return await off_loop(size, Features.from_mapping, arrays)

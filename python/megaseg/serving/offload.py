"""Work that grows with the input, moved off the event loop so that other requests are not delayed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from megaseg.engine.inputs.features import Features
from megaseg.engine.inputs.system import lower_priority

_LARGE = 1 << 18  # bytes: a quarter of a MiB is checked or decoded in well under a millisecond

_NICE = 10

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


async def off_loop(
    size: int, function: Callable[_Given, _Result], *arguments: _Given.args, **keywords: _Given.kwargs
) -> _Result:
    """Call a function that works on ``size`` bytes: in a thread where they are many."""
    if size > _LARGE:
        return await asyncio.to_thread(function, *arguments, **keywords)
    return function(*arguments, **keywords)


async def submitted(
    submit: Callable[..., Future[_Result]], features: Features | Mapping[str, Any], **keywords: Any
) -> Future[_Result]:
    """What a scheduler's or a stream's ``submit`` gives, which checks and copies the features first.

    Cancelled meanwhile, it cancels what is submitted.
    """
    arrays = features.modalities if isinstance(features, Features) else features
    if sum(getattr(array, "nbytes", 0) for array in arrays.values()) <= _LARGE:
        return submit(features, **keywords)
    call = asyncio.ensure_future(asyncio.to_thread(submit, features, **keywords))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        call.add_done_callback(_cancel)
        raise


def low_priority_thread() -> ThreadPoolExecutor:
    """One thread that computes at a lower priority than the event loop, as do the threads that its work starts.

    Threads inherit the nice value of the one that starts them. Answers, refusals and health checks then do not wait
    for a core that computes.
    """

    def lower() -> None:
        lower_priority(_NICE)

    return ThreadPoolExecutor(1, initializer=lower)


def _cancel(call: asyncio.Future[Future[Any]]) -> None:
    if not call.cancelled() and call.exception() is None:
        call.result().cancel()

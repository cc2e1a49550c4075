"""Time and ceilings of a device."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.rows import Row, row_of

CEILINGS = "ceilings of the device"


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def milliseconds(run: Callable[[], object], seconds: float = 0.4, least: int = 5) -> list[float]:
    """Time of each call on the device, between events; wall time where there is no GPU. Two calls warm up."""
    on_gpu = torch.cuda.is_available()
    for _ in range(2):
        run()
    synchronise()
    times: list[float] = []
    until = time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < until:
        if on_gpu:
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            start.record()
            run()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end))
        else:
            begin = time.perf_counter()
            run()
            times.append(1e3 * (time.perf_counter() - begin))
    return times


def kernel_milliseconds(run: Callable[[], object], seconds: float = 0.4, calls: int = 8) -> list[float]:
    """Time of a call on the device alone: of ``calls`` of them in one CUDA graph, so that no launch is waited for."""
    if not torch.cuda.is_available():
        return milliseconds(run, seconds)
    with torch.cuda.stream(torch.cuda.Stream()):  # type: ignore[no-untyped-call]
        run()  # compiles, and lets libraries set up
    synchronise()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(calls):
            run()
    return [time / calls for time in milliseconds(graph.replay, seconds)]


def wall_milliseconds(run: Callable[[], object], turns: int = 7) -> list[float]:
    """Time of each whole call as its caller sees it, the first left out; ``run`` returns when its result is there."""
    run()
    times = []
    for _ in range(turns):
        begin = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - begin))
    return times


def ceilings(device: torch.device, side: int, megabytes: int) -> list[Row]:
    """Products of square matrices, and copies from memory to memory: what nothing here can pass."""
    rows = []
    for dtype in (torch.bfloat16, torch.float16):
        a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        rates = [2e-9 * side**3 / t for t in milliseconds(lambda a=a, b=b: a @ b)]  # type: ignore[misc]
        rows.append(row_of(CEILINGS, f"product {str(dtype)[6:]}", "TFLOP/s", rates, side=side))
    source = torch.randn(megabytes << 18, device=device)
    to = torch.empty_like(source)
    rates = [2e-6 * source.nbytes / t for t in milliseconds(lambda: to.copy_(source))]
    return [*rows, row_of(CEILINGS, "copy", "GB/s", rates, megabytes=megabytes)]


def facts() -> dict[str, Any]:
    """The GPU and the versions that a row belongs to."""
    import triton

    found: dict[str, Any] = {"torch": torch.__version__, "triton": triton.__version__}
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        found |= {"gpu": properties.name, "multiprocessors": properties.multi_processor_count}
        found |= {"gpu_memory_gib": round(properties.total_memory / 2**30, 1), "cuda": torch.version.cuda}
    return found

"""The default threads beside 0, 1 and 2 busy processes, as a share of what one thread does there."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from benchmarks.rows import Row, row_of
from megaseg import Engine, load_features

NEIGHBOURS = (0, 1, 2)
WINDOWS = 64
TURNS, SECONDS = 8, 0.7


def run() -> list[Row]:
    movie = {name: rows[:WINDOWS] for name, rows in load_features("sample").modalities.items()}
    engines = {threads: Engine.from_checkpoint("screenplay-scenes", num_threads=threads) for threads in (1, 0)}
    rows = []
    for count in NEIGHBOURS:
        rates: dict[int, list[float]] = {threads: [] for threads in engines}
        with busy(count):
            for _ in range(TURNS):
                for threads, engine in engines.items():
                    rates[threads].append(calls_per_second(engine, movie))
        case = f"{WINDOWS} windows beside {count} busy processes"
        share = float(np.median([of / one for of, one in zip(rates[0], rates[1], strict=True)]))
        default = engines[0].describe()["num_threads"]
        rows.append(row_of(case, "one thread", "calls/s", rates[1]))
        rows.append(row_of(case, f"default threads ({default})", "calls/s", rates[0], of_one_thread=round(share, 2)))
    return rows


@contextmanager
def busy(count: int) -> Iterator[None]:
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        time.sleep(0.3)
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def calls_per_second(engine: Engine, movie: dict[str, Any]) -> float:
    engine.logits(movie)
    begin, calls = time.perf_counter(), 0
    while time.perf_counter() - begin < SECONDS:
        engine.logits(movie)
        calls += 1
    return calls / (time.perf_counter() - begin)

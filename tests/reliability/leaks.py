"""Prints how much the resident memory grows over 2,000 requests and streams; argument: bytes to keep of each."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import random_checkpoint, random_features, small_config

from megaseg import Engine
from megaseg.engine.live.scheduler import Scheduler


def resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def main(leak: int) -> None:
    engine = Engine.from_checkpoint(random_checkpoint(small_config()), num_threads=2)
    movies = [random_features(engine.config, shots, shots) for shots in (1, 9, 40)]
    kept = []

    def requests(count: int) -> None:
        for index in range(count):
            movie = movies[index % 3]
            if index % 2:
                scheduler.segment(movie)
            else:  # a stream, given up half-way every other time
                stream = scheduler.stream(provisional=True)
                stream.push(movie)
                stream.snapshot()
                stream.close() if index % 4 else stream.cancel()
            kept.append(os.urandom(leak))

    with Scheduler(engine) as scheduler:
        requests(500)
        before = resident()
        requests(2000)
        print(resident() - before)


if __name__ == "__main__":
    main(int(sys.argv[1]))

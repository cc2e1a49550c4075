"""Live streams in this process: each gets a shot every few seconds, whether the one before is decided or not."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from megaseg.engine.engine import Engine
from megaseg.engine.live.scheduler import Scheduler

PERIOD = 3.0  # seconds between the shots of a stream
WARM = 8  # shots that every stream has before the clock starts: the look-ahead, so that each push then decides one
Arrays = dict[str, np.ndarray]


@dataclass
class Load:
    """What came of it: milliseconds from when a shot was due to its push's final event, and what was not right."""

    latencies: list[float] = field(default_factory=list)
    pushes: int = 0
    windows: int = 0
    lost: int = 0
    reordered: int = 0
    wrong: int = 0
    generator: float = 0.0  # share of one core that the generator took
    late: float = 0.0  # milliseconds by which the generator itself was late, 99th percentile

    def facts(self, seconds: float) -> dict[str, Any]:
        p99, worst = np.percentile(self.latencies, 99), max(self.latencies)
        return {
            "p99": float(p99),
            "max": float(worst),
            "pushes": self.pushes,
            "windows_per_s": self.windows / seconds,
            "lost": self.lost,
            "reordered": self.reordered,
            "wrong": self.wrong,
            "generator_cores": self.generator,
            "generator_late_p99": self.late,
        }


class Film:
    """One long movie that all streams read, each from a place of its own."""

    def __init__(self, movie: Arrays) -> None:
        self.movie, self.shots = movie, len(next(iter(movie.values())))

    def part(self, stream: int, first: int, last: int) -> Arrays:
        """Shots of a stream's movie; it begins again at the end."""
        rows = (stream * 7 + np.arange(first, last)) % self.shots
        return {name: array[rows] for name, array in self.movie.items()}


def live(scheduler: Scheduler, film: Film, streams: int, seconds: float, checked: int = 8) -> Load:
    """Run streams for so long after a warm-up of one period, close them, and compare some with the whole movie."""
    own = [scheduler.stream() for _ in range(streams)]
    for index, stream in enumerate(own):
        stream.push(film.part(index, 0, WARM))
    load, events = Load(), [[] for _ in own]
    lock = threading.Lock()
    due_of = np.sort(np.random.default_rng(streams).uniform(0, PERIOD, streams))
    rounds = math.ceil((PERIOD + seconds) / PERIOD)
    begin, lateness = time.perf_counter() + 0.5, []

    def done(index: int, due: float, measured: bool, future: Future[Any]) -> None:
        now = time.perf_counter()
        with lock:
            events[index] += future.result()
            if measured:
                load.latencies.append(1e3 * (now - due))

    cpu = time.thread_time()
    for number in range(rounds):
        for index, stream in enumerate(own):
            due = begin + number * PERIOD + due_of[index]
            shot = film.part(index, WARM + number, WARM + number + 1)
            if (ahead := due - time.perf_counter()) > 0:
                time.sleep(ahead)
            lateness.append(1e3 * (time.perf_counter() - due))
            stream.submit(shot).add_done_callback(partial(done, index, due, number > 0))
    load.generator = (time.thread_time() - cpu) / (rounds * PERIOD)
    load.late = float(np.percentile(lateness, 99))
    for index, stream in enumerate(own):
        events[index] += stream.close()
    load.pushes, load.windows = (rounds - 1) * streams, (rounds - 1) * streams
    _judge(load, scheduler.engine, film, events, WARM + rounds, checked)
    return load


def _judge(load: Load, engine: Engine, film: Film, events: Sequence[list[Any]], shots: int, checked: int) -> None:
    for index, own in enumerate(events):
        order = [event.shot for event in own]
        load.lost += shots - len(set(order))
        load.reordered += order != sorted(order) or len(order) != len(set(order))
        if index < checked:
            whole = engine.segment(film.part(index, 0, shots))
            load.wrong += not np.array_equal(np.array([event.score for event in own], np.float32), whole.scores)

"""One scheduler under many callers: answers as in a serial run, exact counts under overload, and flat memory."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from forked import status_of_fork
from support import random_checkpoint, random_features, small_config

from megaseg import Engine
from megaseg.engine.live.scheduler import BatchReport, Scheduler
from megaseg.errors import DeadlineExceeded, OverloadedError, UnsupportedError

LEAK_LIMIT = 6 << 20  # bytes over 2,000 requests; the control leaks 32 MB
LEAKS = Path(__file__).with_name("leaks.py")


@pytest.mark.parametrize("task", ["scene", "act"])
def test_eight_threads_of_requests_and_streams_equal_a_serial_run(task: str) -> None:
    config = small_config(task)
    engine = Engine.from_checkpoint(random_checkpoint(config), num_threads=2)
    movies = [random_features(config, 1 + (17 * i) % 40, i) for i in range(200)]
    serial = [engine.segment(movie).to_json() for movie in movies]

    def client(seed: int) -> bool:
        rng = np.random.default_rng(seed)
        return all(answer(int(i), int(rng.integers(3))) == serial[i] for i in rng.permutation(len(movies)))

    def answer(index: int, kind: int) -> str:
        movie = movies[index]
        if kind or task == "act":
            return scheduler.segment(movie, wait=True).to_json()
        stream = scheduler.stream()
        for part in np.array_split(np.arange(len(movie["clip"])), 4):
            if len(part):
                stream.push({name: rows[part] for name, rows in movie.items()}, wait=True)
        stream.close()
        return stream.segmentation().to_json()

    with Scheduler(engine, max_batch_size=32, max_queue=6) as scheduler, ThreadPoolExecutor(8) as threads:
        assert all(threads.map(client, range(8)))
        assert scheduler.stats().queued == 0


def test_ten_times_what_fits_is_refused_exactly_and_the_rest_answered() -> None:
    config = small_config()
    engine = Engine.from_checkpoint(random_checkpoint(config), num_threads=1)
    movies = [random_features(config, 20, seed) for seed in range(10)]
    serial = [engine.segment(movie).to_json() for movie in movies]
    reports: list[BatchReport] = []
    futures: list[tuple[int, Future]] = []
    refused = 0
    with Scheduler(engine, max_batch_size=8, max_queue=5, on_batch=reports.append) as scheduler:
        while scheduler.stats().completed < 200:  # offered as fast as this thread can
            for index, movie in enumerate(movies):
                try:
                    futures.append((index, scheduler.submit(movie)))
                except OverloadedError:
                    refused += 1
    stats = scheduler.stats()
    assert refused > 0
    assert (stats.accepted, stats.refused, stats.completed, stats.queued) == (len(futures), refused, len(futures), 0)
    assert max(report.queued for report in reports) <= 5
    assert all(future.result(0).to_json() == serial[index] for index, future in futures)


def test_every_ending_is_counted_once() -> None:
    """Threads that cancel, set deadlines and give streams up at random: counts add up and nothing is left behind."""
    config = small_config()
    engine = Engine.from_checkpoint(random_checkpoint(config), num_threads=1)
    movie, serial = random_features(config, 60), None
    ends = {"completed": 0, "cancelled": 0, "expired": 0, "refused": 0}
    lock = threading.Lock()

    def client(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(100):
            kind = rng.integers(3)
            try:
                future = scheduler.submit(movie, timeout=float(rng.choice([1e-4, 3e-3, 60])))
                if kind == 0:
                    future.cancel()
                same, end = future.result(60).to_json() == serial, "completed"
            except OverloadedError:
                same, end = True, "refused"
            except DeadlineExceeded:
                same, end = True, "expired"
            except CancelledError:
                same, end = True, "cancelled"
            assert same
            with lock:
                ends[end] += 1

    serial = engine.segment(movie).to_json()
    with Scheduler(engine, max_batch_size=16, max_queue=6) as scheduler, ThreadPoolExecutor(8) as threads:
        list(threads.map(client, range(8)))
        scheduler.segment(movie, wait=True)  # what was cancelled last is swept out before this
    stats = scheduler.stats()
    assert sum(ends.values()) == 800
    assert min(ends["completed"], ends["cancelled"]) > 0
    assert (stats.refused, stats.expired, stats.cancelled) == (ends["refused"], ends["expired"], ends["cancelled"])
    assert (stats.completed, stats.failed, stats.queued) == (ends["completed"] + 1, 0, 0)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_use_after_fork_raises() -> None:
    engine = Engine.from_checkpoint(random_checkpoint(small_config()))
    movie = random_features(engine.config, 9)
    with Scheduler(engine) as scheduler:
        scheduler.segment(movie)

        def child() -> int:
            with pytest.raises(UnsupportedError, match="fork"):
                scheduler.submit(movie)
            return 7

        assert status_of_fork(child) == 7
        assert scheduler.segment(movie).num_shots == 9


@pytest.mark.parametrize("leak", [0, 16 << 10])
def test_memory_is_flat_over_2000_requests(leak: int) -> None:
    """With a control that keeps 16 KiB a request, to show that the measure sees a leak."""
    done = subprocess.run([sys.executable, LEAKS, str(leak)], capture_output=True, text=True, check=True, timeout=100)
    growth = int(done.stdout)
    assert growth > LEAK_LIMIT if leak else growth < LEAK_LIMIT

"""Random traffic at a scheduler: every future ends, with the right answer or an error that its caller can expect.

Clients submit, stream, cancel, set deadlines, wait for room, ask for nonsense and hang callbacks that raise on their
requests, while the scheduler has odd options, a hook that raises, and is closed at any time. The main thread, where
there is one, is interrupted while it waits, as by Ctrl-C.
"""

from __future__ import annotations

import asyncio
import functools
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import numpy as np
from stress.findings import Finding, expect
from support import random_checkpoint, random_features, small_config

from megaseg import Engine
from megaseg.engine.live.queue_entries import Finished
from megaseg.engine.live.scheduler import Scheduler
from megaseg.errors import DeadlineExceeded, FeatureError, MegasegError, OverloadedError, UnsupportedError

HANG = 20.0  # seconds: far beyond any answer
ODD = (1.5, float("inf"), float("nan"), -1, 0, "8", None, 2**70)
TIMEOUTS = (None, None, 60, 1e-4, 3e-3, 1e11, float("inf"))


class Interrupted(BaseException):
    """What a signal raises in the main thread."""


class Forgetful(Scheduler):
    """The control: a scheduler that loses the first of the requests that end together."""

    def finish(self, finished: Sequence[Finished]) -> None:
        super().finish(finished[1:])


def trial(rng: np.random.Generator, broken: bool = False) -> None:
    """Some clients of one scheduler, from its making to its close."""
    options, odd = _options(rng)
    engine, movies, answers = _models(str(rng.choice(["scene", "scene", "act"])))
    try:
        scheduler = (Forgetful if broken else Scheduler)(engine, **({} if broken else options))
    except MegasegError as error:
        expect(odd, f"options {options} are refused: {error}")
        return
    except Exception as error:
        raise Finding(f"options {options}: {type(error).__name__}: {error}") from error
    traffic = _Traffic(scheduler, movies, answers, 1.0 if broken else HANG)
    clients = [functools.partial(traffic.client, child) for child in rng.spawn(int(rng.integers(1, 5)))]
    early, cancel = bool(rng.integers(2)), bool(rng.integers(2))
    if early:
        delay = float(rng.choice([0, 1e-3, 1e-2]))
        clients.append(lambda: (threading.Event().wait(delay), traffic.close(cancel)))
    threads = [_start(client, traffic.errors) for client in clients]
    if threading.current_thread() is threading.main_thread():
        traffic.interrupted(rng)
    for thread in threads:
        thread.join(3 * traffic.hang)
        traffic.expect(not thread.is_alive(), "a caller waits for ever")
    if not early:
        closing = _start(lambda: traffic.close(cancel), traffic.errors)
        closing.join(traffic.hang)
        traffic.expect(not closing.is_alive(), "close() does not end")
    traffic.expect_all_ended(options)


def _options(rng: np.random.Generator) -> tuple[dict[str, Any], bool]:
    """Options of a scheduler, and whether one of them may be refused."""

    def fails(_: object) -> None:
        raise rng.choice([ZeroDivisionError, SystemExit])

    options: dict[str, Any] = {
        "max_batch_size": int(rng.choice([1, 3, 16, 64])),
        "max_queue": int(rng.choice([1, 2, 6, 1024])),
        "max_queue_delay_us": int(rng.choice([0, 0, 200, 5000])),
        "on_batch": (None, None, fails, lambda _: threading.Event().wait(2e-3))[rng.integers(4)],
    }
    if odd := bool(rng.random() < 0.2):
        name = str(rng.choice(["max_batch_size", "max_queue", "max_queue_delay_us"]))
        options[name] = ODD[rng.integers(len(ODD))]
    return options, odd


@functools.cache
def _models(task: str) -> tuple[Engine, list[dict[str, np.ndarray]], list[str]]:
    """An engine, movies, and its answers to them."""
    config = small_config(task, max_length=5 if task == "scene" else 60)
    engine = Engine.from_checkpoint(random_checkpoint(config), num_threads=1)
    movies = [random_features(config, shots, shots) for shots in (1, 2, 7, 20, 33, 60)]
    return engine, movies, [engine.segment(movie).to_json() for movie in movies]


def _start(work: Callable[[], object], errors: list[str]) -> threading.Thread:
    def run() -> None:
        try:
            work()
        except Finding as finding:
            errors.append(str(finding))
        except BaseException as error:  # noqa: BLE001 (reported by the trial)
            errors.append(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


class _Traffic:
    def __init__(self, scheduler: Scheduler, movies: list[dict[str, np.ndarray]], answers: list[str], hang: float):
        self._scheduler, self._movies, self._answers, self.hang = scheduler, movies, answers, hang
        self._futures: list[Future[Any]] = []
        self._closed = self._cancelled = False  # by close(), and its requests with it
        self.errors: list[str] = []

    def expect(self, held: bool, message: str) -> None:
        expect(held, f"{message}; {self.errors}; {self._scheduler.stats()}")

    def close(self, cancel: bool) -> None:
        self._closed, self._cancelled = True, cancel
        self._scheduler.close(cancel=cancel)

    def client(self, rng: np.random.Generator) -> None:
        """Some requests, one after the other, each to its end."""
        kinds = [self._request, self._request, self._stream, self._nonsense, self._await]
        for _ in range(6):
            if self._scheduler.engine.config.task == "act":
                kinds = [self._request, self._await]
            with self._expected(own_cancel=False):
                kinds[rng.integers(len(kinds))](rng)
            stats = self._scheduler.stats()
            expect(min(stats.queued, stats.accepted) >= 0, f"counts below zero: {stats}")

    @contextmanager
    def _expected(self, own_cancel: bool) -> Iterator[None]:
        """Errors that a caller can expect: of a full queue, a deadline, its own cancelling or a closed scheduler."""
        try:
            yield
        except (OverloadedError, DeadlineExceeded):
            pass
        except CancelledError:
            expect(own_cancel or self._cancelled, "CancelledError for a caller that nobody cancelled")
        except UnsupportedError as error:
            expect(self._closed or "timeout" in str(error) or not self._alive(), f"unexpected: {error}")
        except FutureTimeout as error:
            raise Finding(f"a future that never ends, the scheduler's thread alive: {self._alive()}") from error

    def _alive(self) -> bool:
        return self._scheduler._thread.is_alive()

    def _request(self, rng: np.random.Generator) -> None:
        index, cancels = int(rng.integers(len(self._movies))), bool(rng.random() < 0.3)
        future = self._scheduler.submit(
            self._movies[index], timeout=TIMEOUTS[rng.integers(len(TIMEOUTS))], wait=bool(rng.integers(2))
        )
        self._futures.append(future)
        with suppress(SystemExit, KeyboardInterrupt):  # called here where the future is done, or is cancelled
            if rng.random() < 0.2:
                future.add_done_callback(_raising(rng.choice([ZeroDivisionError, SystemExit, KeyboardInterrupt])))
            if cancels:
                future.cancel()
        with self._expected(cancels):
            expect(future.result(self.hang).to_json() == self._answers[index], "a wrong answer")

    def _stream(self, rng: np.random.Generator) -> None:
        index = int(rng.integers(len(self._movies)))
        movie, stream, at = self._movies[index], self._scheduler.stream(provisional=bool(rng.integers(2))), 0
        shots = len(movie["clip"])
        while at < shots:
            end = min(shots, at + int(rng.integers(1, 20)))
            part = {name: rows[at:end] for name, rows in movie.items()}
            future = stream.submit(part, timeout=TIMEOUTS[rng.integers(len(TIMEOUTS))], wait=True)
            self._futures.append(future)
            at = end
            if rng.random() < 0.2:
                future.cancel()
        if rng.random() < 0.2:
            stream.cancel()
            return
        self._futures.append(closing := stream.submit_close())
        with self._expected(False):
            closing.result(self.hang)
            expect(stream.segmentation().to_json() == self._answers[index], "a stream's answer is wrong")

    def _nonsense(self, rng: np.random.Generator) -> None:
        """Requests that are refused, at once or by their future."""
        movie = self._movies[2]
        wrong = {name: rows[:, 1:] for name, rows in movie.items()}
        asks: list[Callable[[], Future[Any]]] = [
            lambda: self._scheduler.submit(wrong),
            lambda: self._scheduler.submit(movie, threshold=2.0),
            lambda: self._scheduler.submit(movie, timeout=float(rng.choice([-1, 0, np.nan]))),
            lambda: self._scheduler.stream().submit(wrong),
        ]
        try:
            future = asks[rng.integers(len(asks))]()
            self._futures.append(future)
            future.result(self.hang)
        except FeatureError:
            return
        raise Finding("nonsense was answered")

    def _await(self, rng: np.random.Generator) -> None:
        """As a task of an event loop, perhaps cancelled."""
        index, cancels = int(rng.integers(len(self._movies))), bool(rng.random() < 0.5)

        async def main() -> None:
            request = self._scheduler.segment_async(self._movies[index], wait=True)
            task = asyncio.create_task(request)
            await asyncio.sleep(float(rng.choice([0, 1e-3])))
            if cancels:
                task.cancel()
            try:
                answer = await asyncio.wait_for(task, self.hang)
                expect(answer.to_json() == self._answers[index], "a wrong answer to a task")
            except asyncio.CancelledError:
                expect(cancels or self._cancelled, "CancelledError for a task that nobody cancelled")

        asyncio.run(main())

    def interrupted(self, rng: np.random.Generator) -> None:
        """Requests of the main thread, interrupted wherever it waits."""

        def interrupt(_: int, frame: FrameType | None) -> None:
            # Blocked: elsewhere in Condition.wait an exception leaves Python's own lock in disorder.
            if frame and frame.f_code is threading.Condition.wait.__code__ and frame.f_locals.get("gotit") is False:
                raise Interrupted
            if armed:
                signal.setitimer(signal.ITIMER_REAL, 1e-3)

        previous = signal.signal(signal.SIGALRM, interrupt)
        try:
            for _ in range(3):
                armed = True
                signal.setitimer(signal.ITIMER_REAL, float(rng.uniform(1e-4, 5e-3)))
                try:
                    with self._expected(False):
                        self._scheduler.segment(self._movies[-1], wait=True, timeout=self.hang)
                except Interrupted:
                    pass
                finally:
                    armed = False  # first: a signal that is pending must not set the timer again
                    signal.setitimer(signal.ITIMER_REAL, 0)
        finally:
            signal.signal(signal.SIGALRM, previous)

    def expect_all_ended(self, options: dict[str, Any]) -> None:
        self.expect(not self.errors, f"options {options}")
        self.expect(all(future.done() for future in self._futures), f"a future never ended; options {options}")
        stats = self._scheduler.stats()
        ended = stats.completed + stats.expired + stats.cancelled + stats.failed
        self.expect(stats.queued == 0 and stats.accepted == ended, f"counts do not add up; options {options}")


def _raising(error: type[BaseException]) -> Callable[[object], None]:
    def callback(_: object) -> None:
        raise error

    return callback

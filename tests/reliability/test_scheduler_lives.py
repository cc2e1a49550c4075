"""A scheduler that lives: whatever its callers do its thread goes on, and where it ends nobody waits for it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, wait
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forked import status_of_fork
from support import random_checkpoint, random_features, small_config

from megaseg import Engine
from megaseg.engine.live.scheduler import Scheduler
from megaseg.errors import DeadlineExceeded, MegasegError, UnsupportedError

MOVIE = random_features(small_config(), 9)
ENDS = [ValueError, MemoryError, SystemExit, KeyboardInterrupt, GeneratorExit]


class Gate:
    """A backend that runs while it is open, and raises ``error`` where there is one."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self.open, self.entered = threading.Event(), threading.Event()
        self.open.set()
        self.error: BaseException | None = None

    def run(self, *given: Any) -> Any:
        self.entered.set()
        assert self.open.wait(30)
        if self.error is not None:
            raise self.error
        return self._backend.run(*given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def hold(self) -> None:
        self.entered.clear()
        self.open.clear()


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine.from_checkpoint(random_checkpoint(small_config()), num_threads=1)
    engine.backend = Gate(engine.backend)  # type: ignore[assignment]
    yield engine
    gate(engine).open.set()


def gate(engine: Engine) -> Gate:
    assert isinstance(engine.backend, Gate)
    return engine.backend


def expect_sums(scheduler: Scheduler) -> None:
    stats = scheduler.stats()
    assert stats.accepted == stats.completed + stats.expired + stats.cancelled + stats.failed + stats.queued


def raising(error: type[BaseException]) -> Callable[..., Any]:
    def call(*_: Any, **__: Any) -> Any:
        raise error("on purpose")

    return call


@pytest.mark.parametrize("error", ENDS)
def test_the_thread_goes_on_after_what_a_callback_raises(
    error: type[BaseException], engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with Scheduler(engine) as scheduler:
        gate(engine).hold()
        future, called = scheduler.submit(MOVIE), threading.Event()
        future.add_done_callback(raising(error))
        future.add_done_callback(lambda _: called.set())
        gate(engine).open.set()
        assert future.result(20).num_shots == 9
        assert called.wait(20)
        assert scheduler.submit(MOVIE).result(20).num_shots == 9
        stream = scheduler.stream()
        stream.submit(MOVIE).add_done_callback(raising(error))
        push = stream.submit({name: rows[:1] for name, rows in MOVIE.items()})
        push.add_done_callback(raising(error))  # called in this thread, where it is done
        assert len(push.result(20)) == 1
    expect_sums(scheduler)
    assert "callback of a request failed" in caplog.text
    assert error.__name__ in caplog.text


@pytest.mark.parametrize("error", ENDS)
def test_the_thread_goes_on_after_what_on_batch_raises(
    error: type[BaseException], engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with Scheduler(engine, on_batch=raising(error)) as scheduler:
        for _ in range(3):
            assert scheduler.submit(MOVIE).result(20).num_shots == 9
    assert "on_batch failed" in caplog.text
    assert error.__name__ in caplog.text


@pytest.mark.parametrize("error", ENDS)
@pytest.mark.parametrize("requests", [1, 3])
def test_what_a_backend_raises_fails_its_batch_only(error: type[BaseException], requests: int, engine: Engine) -> None:
    with Scheduler(engine) as scheduler:
        gate(engine).hold()
        futures = [scheduler.submit(MOVIE) for _ in range(requests)]
        gate(engine).error = error("on purpose")
        gate(engine).open.set()
        for future in futures:
            outcome = future.exception(20)
            # Not one that would end the thread or the event loop of the caller.
            assert isinstance(outcome, error if issubclass(error, Exception) else MegasegError)
            assert "on purpose" in str(outcome)
        gate(engine).error = None
        assert scheduler.submit(MOVIE).result(20).num_shots == 9
    assert scheduler.stats().failed == requests
    expect_sums(scheduler)


@pytest.mark.parametrize("garbage", [None, 3, []])
def test_logits_that_are_none_fail_their_batch_only(
    garbage: Any, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Scheduler(engine) as scheduler:
        with monkeypatch.context() as patch:
            patch.setattr(gate(engine), "run", lambda *_: garbage)
            assert scheduler.submit(MOVIE).exception(20) is not None
            assert scheduler.stream().submit(MOVIE).exception(20) is not None
        assert scheduler.submit(MOVIE).result(20).num_shots == 9
    expect_sums(scheduler)


@pytest.mark.parametrize("error", ENDS)
def test_a_decision_that_raises_anything_fails_its_request_only(
    error: type[BaseException], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide = engine.decide

    def picky(source: Any, logits: Any, given: dict[str, Any], *more: Any) -> Any:
        return raising(error)() if "min_scene_length" in given else decide(source, logits, given, *more)

    monkeypatch.setattr(engine, "decide", picky)
    with Scheduler(engine) as scheduler:
        gate(engine).hold()
        futures = [scheduler.submit(MOVIE), scheduler.submit(MOVIE, min_scene_length=2), scheduler.submit(MOVIE)]
        gate(engine).open.set()
        assert "on purpose" in str(futures[1].exception(20))
        assert [futures[index].result(20).num_shots for index in (0, 2)] == [9, 9]
    assert scheduler.stats().failed == 1


@pytest.mark.parametrize("error", ENDS)
@pytest.mark.parametrize("where", ["_gather", "_drop_stale", "_shares", "_run", "_try"])
def test_what_ends_the_thread_fails_every_future_and_closes_the_scheduler(
    where: str, error: type[BaseException], engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    scheduler = Scheduler(engine, max_queue=4, max_batch_size=4)
    gate(engine).hold()
    stream = scheduler.stream()
    futures = [scheduler.submit(MOVIE), scheduler.submit(MOVIE), stream.submit(MOVIE), scheduler.submit(MOVIE)]
    assert gate(engine).entered.wait(20)  # one is taken, two wait, one is cancelled
    assert futures[3].cancel()
    told: list[BaseException] = []

    def patient() -> None:
        try:
            scheduler.segment(MOVIE, wait=True)
        except BaseException as end:  # noqa: BLE001 (for the test's own thread)
            told.append(end)

    thread = threading.Thread(target=patient)
    thread.start()
    while not scheduler.admission._line:
        threading.Event().wait(0.001)
    monkeypatch.setattr(scheduler, where, raising(error))
    gate(engine).open.set()
    assert not wait(futures, 20).not_done
    thread.join(20)
    for outcome in (*(future.exception() for future in futures[:3]), *told):
        assert isinstance(outcome, UnsupportedError)
        assert f"its thread ended with {error.__name__}" in str(outcome)
    assert len(told) == 1
    assert futures[3].cancelled()
    for call in (scheduler.submit, scheduler.segment, scheduler.stream().push, stream.push):
        with pytest.raises(UnsupportedError, match="scheduler: closed"):
            call(MOVIE)
    scheduler.close()
    expect_sums(scheduler)
    assert scheduler.stats().queued == 0
    assert any(record.levelno == logging.CRITICAL for record in caplog.records)


def test_a_request_on_its_way_in_when_the_thread_ends_is_refused(engine: Engine) -> None:
    scheduler = Scheduler(engine)

    class Late(dict[str, np.ndarray]):
        """Features that are read while the scheduler is closed."""

        def items(self) -> Any:
            scheduler.close()
            return super().items()

    with pytest.raises(UnsupportedError, match="scheduler: closed"):
        scheduler.submit(Late(MOVIE))
    expect_sums(scheduler)
    assert scheduler.stats().queued == 0


@pytest.mark.parametrize("name", ["max_batch_size", "max_queue", "max_queue_delay_us"])
@pytest.mark.parametrize("value", [1.5, "3", None, True, float("inf"), float("nan"), 1e30, 2**70, -1, [4], 4 + 0j])
def test_odd_options_are_refused(name: str, value: Any, engine: Engine) -> None:
    if name == "max_queue_delay_us" and value == 1.5:
        return
    with pytest.raises(UnsupportedError, match=rf"{name}: expected an? (integer|number) from [01] to \d+, got"):
        Scheduler(engine, **{name: value})


def test_options_may_be_numbers_of_numpy(engine: Engine) -> None:
    options: dict[str, Any] = {
        "max_batch_size": np.int8(100),
        "max_queue": np.int64(7),
        "max_queue_delay_us": np.float32(1.5),
    }
    with Scheduler(engine, **options) as scheduler:
        futures = [scheduler.submit(MOVIE, timeout=np.float32(60)) for _ in range(5)]
        assert all(future.result(20).num_shots == 9 for future in futures)


@pytest.mark.parametrize("call", ["segment", "close", "push"])
def test_an_interrupted_caller_cancels_what_it_waits_for(call: str, engine: Engine) -> None:
    with Scheduler(engine) as scheduler:
        stream = scheduler.stream()
        if call == "close":
            stream.push({name: rows[:1] for name, rows in MOVIE.items()})
        gate(engine).hold()
        seen = threading.Event()

        def interrupt(*_: Any) -> None:
            if not seen.is_set():
                seen.set()
                raise KeyboardInterrupt

        def press() -> None:
            assert gate(engine).entered.wait(20)
            while not seen.is_set():  # Python does not see one that comes just before it begins to wait
                os.kill(os.getpid(), signal.SIGINT)
                seen.wait(0.1)

        before = signal.signal(signal.SIGINT, interrupt)
        threading.Thread(target=press).start()
        try:
            with pytest.raises(KeyboardInterrupt):
                {"segment": scheduler.segment, "push": stream.push, "close": lambda _: stream.close()}[call](MOVIE)
        finally:
            signal.signal(signal.SIGINT, before)
        gate(engine).open.set()
        assert scheduler.submit(MOVIE).result(20).num_shots == 9
    stats = scheduler.stats()
    assert (stats.completed, stats.queued) == (2 if call == "close" else 1, 0)  # without the interrupted one
    expect_sums(scheduler)


def test_interrupts_at_any_moment_lose_no_place(engine: Engine) -> None:
    """Ctrl-C again and again in a caller that waits for room or for its result, beside callers that do not stop."""
    ended, asking, interrupts = threading.Event(), False, 0

    def client() -> None:
        while not ended.is_set():
            scheduler.segment(MOVIE, wait=True)

    def interrupt(*_: Any) -> None:
        if asking:
            raise KeyboardInterrupt

    def press() -> None:
        rng = np.random.default_rng(0)
        while not ended.wait(float(rng.uniform(1e-5, 2e-3))):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    with Scheduler(engine, max_queue=2) as scheduler:
        threads = [threading.Thread(target=work) for work in (client, client, client, press)]
        for thread in threads:
            thread.start()
        for _ in range(300):
            try:
                asking = True
                scheduler.segment(MOVIE, wait=True)
                asking = False
            except KeyboardInterrupt:
                asking = False
                interrupts += 1
        ended.set()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
        assert scheduler.submit(MOVIE).result(20).num_shots == 9
    signal.signal(signal.SIGUSR1, before)
    assert interrupts > 0
    expect_sums(scheduler)
    assert scheduler.stats().queued == 0


def test_a_deadline_bounds_the_wait_for_more(engine: Engine) -> None:
    hour = 3_600_000_000
    with Scheduler(engine, max_queue_delay_us=hour) as scheduler:
        patient = scheduler.submit(MOVIE)
        assert scheduler.submit(MOVIE, timeout=5).result(20).num_shots == 9  # runs half-way to its deadline
        assert patient.result(20).num_shots == 9  # in the same batch
        with pytest.raises(DeadlineExceeded):
            scheduler.submit(MOVIE, timeout=1e-9).result(20)
        stream = scheduler.stream()
        assert len(stream.submit(MOVIE, timeout=5).result(20)) == 7
        assert len(stream.submit_close(timeout=5).result(20)) == 2
        lost = scheduler.submit(MOVIE)
        scheduler.close(cancel=True)
        with pytest.raises(CancelledError):
            lost.result(0)
    expect_sums(scheduler)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_nothing_hangs_in_a_child_forked_while_the_locks_are_held(engine: Engine) -> None:
    with Scheduler(engine) as scheduler:
        stream = scheduler.stream()
        stream.push(MOVIE)
        calls: list[Callable[[], Any]] = [
            scheduler.stats,
            scheduler.require_room,
            lambda: scheduler.submit(MOVIE),
            lambda: scheduler.segment(MOVIE, wait=True),
            lambda: stream.push(MOVIE),
            lambda: stream.close(),
            stream.cancel,
            stream.segmentation,
            stream.snapshot,
        ]
        held, forked = threading.Event(), threading.Event()

        def hold() -> None:
            with scheduler.admission._lock, scheduler._lock, stream._entry.lock:
                held.set()
                assert forked.wait(20)

        thread = threading.Thread(target=hold)
        thread.start()
        assert held.wait(20)

        def child() -> int:
            for call in calls:
                with pytest.raises(UnsupportedError, match="fork"):
                    call()
            scheduler.close()
            scheduler.close(cancel=True)
            return 7

        status = status_of_fork(child)
        forked.set()
        thread.join(20)
        assert status == 7
        assert scheduler.segment(MOVIE).num_shots == 9


def test_an_interpreter_that_ends_with_work_in_the_queue_ends_as_it_would() -> None:
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).resolve().parents[1])!r})
from support import random_checkpoint, random_features, small_config
from megaseg import Engine
from megaseg.engine.live.scheduler import Scheduler
engine = Engine.from_checkpoint(random_checkpoint(small_config(hidden_size=192)), num_threads=1)
scheduler, movie = Scheduler(engine), random_features(engine.config, 400)
for _ in range(50):
    scheduler.submit(movie)
sys.exit(3)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (3, "")

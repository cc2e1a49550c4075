"""The scheduler: many callers in one batch, each with the answer that it gets alone."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from support import random_checkpoint, random_features, small_config

from megaseg import Engine, Features
from megaseg.engine.live.queue_entries import Job, StreamEntry
from megaseg.engine.live.scheduler import BatchReport, Scheduler
from megaseg.engine.live.stream import new_state
from megaseg.errors import DeadlineExceeded, FeatureError, MegasegError, OverloadedError, UnsupportedError


class Gate:
    """A backend that waits before each run until it is let through, and writes down what it runs."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Semaphore(0)
        self.runs: list[list[int]] = []  # windows of each part of each run

    def run(self, excerpts: Any, outputs: Any = ("logits",)) -> Any:
        self.runs.append([excerpt.last - excerpt.first for excerpt in excerpts])
        self.entered.release()
        assert self.open.wait(20)
        return self._backend.run(excerpts, outputs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


def gated(config: Any) -> tuple[Engine, Gate]:
    engine = Engine.from_checkpoint(random_checkpoint(config), num_threads=1)
    engine.backend = Gate(engine.backend)
    return engine, engine.backend


def movie(engine: Engine, shots: int, seed: int = 0) -> dict[str, np.ndarray]:
    return random_features(engine.config, shots, seed)


def shot(of: dict[str, np.ndarray], index: int) -> dict[str, np.ndarray]:
    return {name: rows[index : index + 1] for name, rows in of.items()}


@pytest.fixture
def held() -> Iterator[tuple[Scheduler, Gate, Future[Any]]]:
    """A scheduler whose thread is held in a first batch of one request."""
    engine, gate = gated(small_config())
    with Scheduler(engine, max_batch_size=16, max_queue=8) as scheduler:
        gate.open.clear()
        first = scheduler.submit(movie(engine, 3))
        assert gate.entered.acquire(timeout=20)
        yield scheduler, gate, first
        gate.open.set()


@pytest.mark.parametrize("task", ["scene", "act"])
@pytest.mark.parametrize("size", [1, 7, 64])
def test_requests_get_what_they_get_alone(task: str, size: int) -> None:
    engine = Engine.from_checkpoint(random_checkpoint(small_config(task)))
    movies = [movie(engine, 1 + 7 * i % 40, i) for i in range(30)]
    decision: dict[str, Any] = {"threshold": 0.4} if task == "scene" else {"ordered": False}
    with Scheduler(engine, max_batch_size=size) as scheduler:
        futures = [scheduler.submit(own, **decision) for own in movies]
        for own, future in zip(movies, futures, strict=True):
            assert future.result(20).to_json() == engine.segment(own, **decision).to_json()
        stats = scheduler.stats()
        assert (stats.accepted, stats.completed, stats.queued) == (30, 30, 0)
        assert scheduler.segment(movies[3]).to_json() == engine.segment(movies[3]).to_json()


def test_pooled_movies() -> None:
    engine = Engine.from_checkpoint(random_checkpoint(small_config("act", max_length=10)), overflow="pool")
    with Scheduler(engine) as scheduler:
        assert scheduler.segment(movie(engine, 37)).to_json() == engine.segment(movie(engine, 37)).to_json()


def test_interleaved_streams_and_requests_share_batches(held: Any) -> None:
    scheduler, gate, first = held
    engine = scheduler.engine
    movies = [movie(engine, 12, seed) for seed in range(6)]
    streams = [scheduler.stream() for _ in movies]
    for index in range(2):  # nothing can be decided yet: answered at once, whatever the scheduler does
        assert all(stream.push(shot(own, index)) == () for own, stream in zip(movies, streams, strict=True))
    waiting = [stream.submit(shot(own, 2)) for own, stream in zip(movies, streams, strict=True)]
    gate.open.set()
    assert [[event.shot for event in future.result(20)] for future in waiting] == [[0]] * 6
    first.result(20)
    assert [1] * 6 in gate.runs
    for own, stream in zip(movies, streams, strict=True):
        events = [event for index in range(3, 12) for event in stream.push(shot(own, index))] + list(stream.close())
        assert [event.shot for event in events] == list(range(1, 12))
        assert stream.segmentation().to_json() == engine.segment(own).to_json()


def test_a_long_movie_leaves_live_streams_their_share(held: Any) -> None:
    scheduler, gate, _ = held
    engine = scheduler.engine
    long = scheduler.submit(movie(engine, 400))
    live = [scheduler.stream() for _ in range(3)]
    pushes = [stream.submit(movie(engine, 4, seed)) for seed, stream in enumerate(live)]
    gate.open.set()
    for push in pushes:
        assert [event.shot for event in push.result(20)] == [0, 1]
    long.result(20)
    # 2 windows of each stream, and what they leave of 16 to the movie; alone it fills the batch.
    assert gate.runs[1] == [2, 2, 2, 10]
    assert gate.runs[2] == [16]
    assert sum(map(sum, gate.runs)) == 3 + 6 + 400


def test_a_batch_waits_for_more_when_asked() -> None:
    engine, gate = gated(small_config())
    reports: list[BatchReport] = []
    with Scheduler(engine, max_batch_size=5, max_queue_delay_us=10_000_000, on_batch=reports.append) as scheduler:
        futures = [scheduler.submit(movie(engine, 1, seed)) for seed in range(5)]  # the fifth fills the batch
        assert all(future.result(20).num_shots == 1 for future in futures)
    assert gate.runs == [[1] * 5]
    assert [(report.windows, report.requests, report.queued) for report in reports] == [(5, 5, 0)]


def test_a_full_queue_refuses_at_once_and_counts(held: Any) -> None:
    scheduler, gate, _ = held
    engine = scheduler.engine
    accepted = [scheduler.submit(movie(engine, 2)) for _ in range(7)]
    for _ in range(5):
        with pytest.raises(OverloadedError, match="max_queue"):
            scheduler.submit(movie(engine, 2))
    stream = scheduler.stream()
    with pytest.raises(OverloadedError):
        stream.push(movie(engine, 2))
    assert stream.num_shots == 0
    with pytest.raises(DeadlineExceeded, match="no room"):
        scheduler.submit(movie(engine, 2), wait=True, timeout=0.01)
    patient = threading.Thread(target=scheduler.segment, args=(movie(engine, 2),), kwargs={"wait": True})
    patient.start()
    gate.open.set()
    patient.join(20)
    assert not patient.is_alive()
    assert all(future.result(20).num_shots == 2 for future in accepted)
    stats = scheduler.stats()
    assert (stats.accepted, stats.completed, stats.refused, stats.queued) == (9, 9, 7, 0)


@pytest.mark.parametrize("scheduled", [False, True])
def test_a_stream_that_is_let_go_is_freed_at_once(scheduled: bool) -> None:
    """Without the garbage collector, whose pass over thousands of streams' features would halt all the others."""
    engine = Engine.from_checkpoint(random_checkpoint(small_config()))
    film = movie(engine, 30)
    gc.disable()
    try:
        with Scheduler(engine) as scheduler:
            stream = scheduler.stream() if scheduled else engine.stream()
            stream.push(film)
            stream.close()
            state = weakref.ref(stream._entry.state if scheduled else stream._state)
            del stream
        assert state() is None
    finally:
        gc.enable()


def test_a_deadline_ends_its_own_request_only(held: Any) -> None:
    scheduler, gate, first = held
    engine = scheduler.engine
    late = scheduler.submit(movie(engine, 40), timeout=0.02)
    fine = scheduler.submit(movie(engine, 40), timeout=60)
    threading.Event().wait(0.05)
    gate.open.set()
    with pytest.raises(DeadlineExceeded):
        late.result(20)
    assert fine.result(20).to_json() == engine.segment(movie(engine, 40)).to_json()
    assert first.result(20).num_shots == 3
    assert scheduler.stats().expired == 1
    with pytest.raises(UnsupportedError, match="timeout"):
        scheduler.submit(movie(engine, 2), timeout=-1)


def test_cancelled_while_queued_running_and_finished(held: Any) -> None:
    scheduler, gate, first = held
    engine = scheduler.engine
    queued, other = scheduler.submit(movie(engine, 5)), scheduler.submit(movie(engine, 6))
    assert queued.cancel()
    assert first.cancel()  # its batch is running
    gate.open.set()
    assert other.result(20).num_shots == 6
    assert not other.cancel()
    with pytest.raises(CancelledError):
        first.result(20)
    long = scheduler.submit(movie(engine, 50))
    gate.open.clear()
    while not long.cancel():
        raise AssertionError("a movie whose later batches have not run can be cancelled")
    gate.open.set()
    scheduler.segment(movie(engine, 2))
    assert scheduler.stats().cancelled == 3
    assert sum(map(sum, gate.runs)) < 3 + 6 + 50 + 2


def test_events_of_a_push_that_was_given_up_come_with_the_next(held: Any) -> None:
    scheduler, gate, _ = held
    engine = scheduler.engine
    own = movie(engine, 20)
    stream = scheduler.stream()
    assert stream.submit({name: rows[:6] for name, rows in own.items()}).cancel()
    late = stream.submit({name: rows[6:9] for name, rows in own.items()}, timeout=0.01)
    threading.Event().wait(0.03)
    gate.open.set()
    with pytest.raises(DeadlineExceeded):
        late.result(20)
    events = [*stream.push({name: rows[9:20] for name, rows in own.items()}), *stream.close()]
    assert [event.shot for event in events] == list(range(20))
    assert np.array_equal(np.array([e.score for e in events], np.float32), engine.segment(own).scores)


def test_a_push_that_its_caller_completed_is_not_dropped_again() -> None:
    """The scheduler's thread may have seen it wait, and be late, a moment before."""
    engine = Engine.from_checkpoint(random_checkpoint(small_config()))
    entry, job = StreamEntry(new_state(engine)), Job.within(1e-9)
    entry.state.append(Features(movie(engine, 1)))
    with entry.lock:
        assert [end.ending for end in entry.add(job)] == ["expired"]
    assert entry.drop([job]) == []
    waits = Job()
    entry.state.append(Features(movie(engine, 9)))
    with entry.lock:
        assert entry.add(waits) == []
    assert entry.drop([job, waits]) == [waits]
    assert entry.jobs() == []


def test_the_scheduler_goes_on_while_a_stream_asks_for_its_acts() -> None:
    scene, act = (Engine.from_checkpoint(random_checkpoint(small_config(task))) for task in ("scene", "act"))
    act.backend = gate = Gate(act.backend)
    own = movie(scene, 9)
    with Scheduler(scene) as scheduler, ThreadPoolExecutor(1) as thread:
        stream = scheduler.stream(acts=act)
        stream.push(own)
        gate.open.clear()
        asked = thread.submit(stream.acts)
        assert gate.entered.acquire(timeout=20)
        assert [event.shot for event in stream.submit(own).result(10)] == list(range(7, 16))
        gate.open.set()
        assert asked.result(20).segmentation.num_shots == 9


def test_a_stream_given_up_half_way_leaves_the_others_alone(held: Any) -> None:
    scheduler, gate, _ = held
    engine = scheduler.engine
    gone, stays = scheduler.stream(), scheduler.stream()
    lost, kept = gone.submit(movie(engine, 9)), stays.submit(movie(engine, 9))
    gone.cancel()
    gate.open.set()
    with pytest.raises(CancelledError):
        lost.result(20)
    assert len(kept.result(20)) == 7
    with pytest.raises(FeatureError, match="closed"):
        gone.push(movie(engine, 1))
    assert scheduler.stats().queued == 0


def test_a_snapshot_of_a_busy_stream_repeats_nothing_and_loses_nothing(held: Any) -> None:
    scheduler, gate, _ = held
    engine = scheduler.engine
    own = movie(engine, 15)
    stream = scheduler.stream()
    under_way = stream.submit({name: rows[:8] for name, rows in own.items()})
    snapshot = stream.snapshot()
    gate.open.set()
    assert [event.shot for event in under_way.result(20)] == list(range(6))
    moved = scheduler.resume(snapshot)  # its caller never got those six
    events = [*moved.push({name: rows[8:] for name, rows in own.items()}), *moved.close()]
    assert [event.shot for event in events] == list(range(15))
    moved = scheduler.resume(stream.snapshot())
    events = [*moved.push({name: rows[8:] for name, rows in own.items()}), *moved.close()]
    assert [event.shot for event in events] == list(range(6, 15))


def test_one_that_fails_does_not_take_the_batch_with_it(held: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler, gate, first = held
    engine = scheduler.engine
    run, wrong = gate._backend.run, movie(engine, 5, 5)

    def picky(excerpts: Any, outputs: Any) -> Any:
        if any(np.array_equal(excerpt.features[0], wrong["clip"]) for excerpt in excerpts):
            raise FeatureError("features: they overflow the compute type")
        return run(excerpts, outputs)

    monkeypatch.setattr(gate._backend, "run", picky, raising=False)
    futures = [scheduler.submit(movie(engine, 5, seed)) for seed in range(4, 7)]
    too_many = scheduler.submit(movie(engine, 2), num_scenes=9)
    gate.open.set()
    with pytest.raises(FeatureError, match="overflow"):
        futures[1].result(20)
    with pytest.raises(FeatureError, match="num_scenes"):
        too_many.result(20)
    assert futures[0].result(20).num_shots == futures[2].result(20).num_shots == 5
    assert first.result(20).num_shots == 3
    assert scheduler.stats().failed == 2


def test_asyncio() -> None:
    engine, gate = gated(small_config())
    movies = [movie(engine, 4 + seed, seed) for seed in range(20)]

    async def main(scheduler: Scheduler) -> None:
        results = await asyncio.gather(*(scheduler.segment_async(own, wait=True) for own in movies))
        for own, result in zip(movies, results, strict=True):
            assert result.to_json() == engine.segment(own).to_json()
        stream = scheduler.stream()
        events = [*await stream.push_async(movies[9]), *await stream.close_async()]
        assert [event.shot for event in events] == list(range(13))
        gate.open.clear()
        task = asyncio.create_task(scheduler.segment_async(movies[0]))
        while not scheduler.stats().queued:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        full = [asyncio.create_task(scheduler.segment_async(movies[1])) for _ in range(3)]
        waits = asyncio.create_task(scheduler.segment_async(movies[2], wait=True))
        while scheduler.stats().queued < 3:
            await asyncio.sleep(0)
        with pytest.raises(DeadlineExceeded):
            await scheduler.segment_async(movies[2], wait=True, timeout=0.01)
        gate.open.set()
        done = await asyncio.gather(*full, waits, return_exceptions=True)
        assert not isinstance(done[-1], BaseException)

    with Scheduler(engine, max_queue=3) as scheduler:
        asyncio.run(main(scheduler))
        assert scheduler.stats().queued == 0


def test_callbacks_may_submit_more() -> None:
    engine = Engine.from_checkpoint(random_checkpoint(small_config()))
    done = threading.Event()
    with Scheduler(engine, max_queue=1) as scheduler:
        chain: list[int] = []

        def again(future: Future[Any]) -> None:
            chain.append(future.result().num_shots)
            if len(chain) == 5:
                done.set()
            else:
                scheduler.submit(movie(engine, 1 + len(chain))).add_done_callback(again)

        scheduler.submit(movie(engine, 1)).add_done_callback(again)
        assert done.wait(20)
    assert chain == [1, 2, 3, 4, 5]


def refusal(scheduler: Scheduler, features: Any) -> MegasegError | None:
    """What a scheduler says to a request that is withdrawn at once."""
    try:
        scheduler.submit(features).cancel()
    except MegasegError as error:
        return error
    return None


@pytest.mark.parametrize("cancel", [False, True])
def test_closing_finishes_or_cancels_accepted_work(cancel: bool) -> None:
    engine, gate = gated(small_config())
    scheduler = Scheduler(engine, max_batch_size=8)
    gate.open.clear()
    futures = [scheduler.submit(movie(engine, 8, seed)) for seed in range(4)]
    assert gate.entered.acquire(timeout=20)
    closing = threading.Thread(target=scheduler.close, kwargs={"cancel": cancel})
    closing.start()
    if cancel:  # all of them, the one whose batch is running too
        while not all(future.cancelled() for future in futures):
            threading.Event().wait(0.001)
    else:
        while not isinstance(refusal(scheduler, movie(engine, 1)), UnsupportedError):
            threading.Event().wait(0.001)
    gate.open.set()
    closing.join(20)
    assert not closing.is_alive()
    assert [future.cancelled() for future in futures] == [cancel] * 4
    stats = scheduler.stats()
    assert stats.queued == 0
    assert stats.accepted == stats.completed + stats.cancelled


def test_misuse() -> None:
    scene, synopsis = (Engine.from_checkpoint(random_checkpoint(small_config(task))) for task in ("scene", "synopsis"))
    for options in ({"max_batch_size": 0}, {"max_queue_delay_us": -1}, {"max_queue": 0}):
        with pytest.raises(UnsupportedError, match=next(iter(options))):
            Scheduler(scene, **options)
    with Scheduler(synopsis) as scheduler, pytest.raises(UnsupportedError, match="synopsis"):
        scheduler.submit(movie(synopsis, 3))
    with Scheduler(scene) as scheduler:
        with pytest.raises(FeatureError):
            scheduler.submit({"clip": np.zeros((3, 1), np.float32)})
        stream = scheduler.stream()
        with pytest.raises(FeatureError):
            stream.push({"clip": np.zeros((3, 1), np.float32)})
        stats = scheduler.stats()
        assert (stats.accepted, stats.queued) == (0, 0)


@pytest.mark.parametrize(
    ("task", "decision", "error"),
    [
        ("scene", {"treshold": 0.5}, TypeError),
        ("scene", {"treshold": None}, TypeError),
        ("scene", {"ordered": True}, FeatureError),
        ("scene", {"threshold": 2.0}, FeatureError),
        ("act", {"num_scenes": 3}, FeatureError),
    ],
)
def test_a_decision_that_cannot_be_is_refused_at_once(
    task: str, decision: dict[str, Any], error: type[Exception]
) -> None:
    engine, gate = gated(small_config(task))
    with Scheduler(engine) as scheduler:
        (name,) = decision
        with pytest.raises(error, match=name):
            scheduler.submit(movie(engine, 3), **decision)
        assert gate.runs == []
        assert scheduler.stats().queued == 0
        assert scheduler.segment(movie(engine, 3)).num_shots == 3

"""Every way out of a wait for room gives the place back, and no wake-up is lost."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import Queue
from typing import Any

import pytest

from megaseg.engine.live.admission import Admission
from megaseg.engine.live.queue_entries import Job
from megaseg.errors import DeadlineExceeded, OverloadedError, UnsupportedError


def nothing(job: Job) -> None:
    """What enters without error."""


def full() -> tuple[Admission, Job]:
    """One place, and the job that has it."""
    admission, holder = Admission(1), Job()
    admission.admit(holder, nothing)
    return admission, holder


def begin(call: Callable[..., Any], *arguments: Any, **options: Any) -> Future[Any]:
    """A call in a thread that holds nobody up, should it hang."""
    done: Future[Any] = Future()

    def work() -> None:
        try:
            done.set_result(call(*arguments, **options))
        except BaseException as error:  # noqa: BLE001 (for the test's own thread)
            done.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return done


def in_line(admission: Admission, count: int) -> None:
    """Return once this many callers wait for room."""
    end = time.monotonic() + 20
    while len(admission._line) < count:
        assert time.monotonic() < end
        threading.Event().wait(0.001)


def counts(admission: Admission) -> tuple[int, int, int]:
    stats = admission.stats()
    return stats.accepted, stats.refused, stats.queued


def interrupt(*_: Any) -> Any:
    raise KeyboardInterrupt


def test_places_go_to_callers_in_the_order_of_the_line() -> None:
    admission, holder = full()
    jobs = [Job() for _ in range(4)]
    entered: Queue[Job] = Queue()
    for count, job in enumerate(jobs, 1):
        begin(admission.admit, job, entered.put, wait=True)
        in_line(admission, count)
    for job in jobs:
        assert admission.leave(holder, "completed")
        holder = entered.get(timeout=20)
        assert holder is job
    assert counts(admission) == (5, 0, 1)


def interrupted(place: Callable[..., Any], when: str) -> Callable[..., Any]:
    """Ctrl-C while the caller takes its place or stands in line."""

    def placed(*arguments: Any) -> Any:
        if when == "before":
            interrupt()
        room = place(*arguments)
        if when == "after":
            interrupt()
        room.result = interrupt
        return room

    return placed


@pytest.mark.parametrize("when", ["before", "after", "in line"])
def test_an_interrupted_caller_leaves_the_line(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    admission, holder = full()
    with monkeypatch.context() as patch:
        patch.setattr(admission, "_place", interrupted(admission._place, when))
        with pytest.raises(KeyboardInterrupt):
            admission.admit(Job(), nothing, wait=True)
    behind = begin(admission.admit, Job(), nothing, wait=True)
    in_line(admission, 1)
    admission.leave(holder, "completed")
    behind.result(20)
    assert counts(admission) == (2, 0, 1)


def test_an_interrupt_between_place_and_work_gives_the_place_back() -> None:
    admission = Admission(1)
    job = Job()
    with pytest.raises(KeyboardInterrupt):
        admission.admit(job, interrupt)
    assert job.future.cancelled()
    assert counts(admission) == (0, 0, 0)


def test_a_place_given_to_one_who_leaves_goes_to_the_next() -> None:
    admission, holder = full()
    late, next_ = Job(), Job()
    rooms = [admission._place(job, True) for job in (late, next_)]
    admission.leave(holder, "completed")
    assert [room is not None and room.done() for room in rooms] == [True, False]
    admission.leave(late)  # its deadline came, or Ctrl-C, in the same moment
    assert rooms[1] is not None
    rooms[1].result(0)
    assert admission.jobs() == [next_]


def test_an_interrupt_while_a_place_is_passed_on_is_made_good() -> None:
    admission, holder = full()
    room = admission._place(Job(), True)
    assert room is not None
    resolve = room.set_result
    room.set_result = interrupt  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        admission.leave(holder, "completed")
    room.set_result = resolve  # type: ignore[method-assign]
    admission.leave(holder)  # as whoever is interrupted does on the way out
    room.result(0)
    assert counts(admission) == (2, 0, 1)


def test_a_deadline_in_line_is_counted_as_refused() -> None:
    admission, _ = full()
    with pytest.raises(DeadlineExceeded, match="no room"):
        admission.admit(Job.within(0.01), nothing, wait=True)
    with pytest.raises(OverloadedError, match="max_queue"):
        admission.admit(Job(), nothing)
    assert counts(admission) == (1, 2, 1)
    assert not admission._line


@pytest.mark.parametrize("way", ["cancelled", "late", "dropped"])
def test_tasks_leave_the_line(way: str) -> None:
    admission, holder = full()

    async def main() -> None:
        call = admission.admit_async(Job.within(0.01 if way == "late" else None), nothing, wait=True)
        if way == "dropped":
            call.send(None)
            call.close()
        else:
            task = asyncio.ensure_future(call)
            await asyncio.sleep(0)
            if way == "cancelled":
                task.cancel()
            with pytest.raises(DeadlineExceeded if way == "late" else asyncio.CancelledError):
                await task
        behind = asyncio.ensure_future(admission.admit_async(Job(), nothing, wait=True))
        await asyncio.sleep(0)
        admission.leave(holder, "completed")
        await asyncio.wait_for(behind, 20)

    asyncio.run(main())
    assert counts(admission) == (2, int(way == "late"), 1)


def test_a_task_cancelled_in_the_moment_of_its_turn_is_cancelled() -> None:
    admission, holder = full()

    async def main() -> None:
        task = asyncio.ensure_future(admission.admit_async(Job(), nothing, wait=True))
        await asyncio.sleep(0)
        admission.leave(holder, "completed")
        await asyncio.sleep(0)  # the place has come, and the task has not run since
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert counts(admission) == (1, 0, 0)


def test_closing_tells_those_in_line() -> None:
    admission, _ = full()

    async def main() -> None:
        task = asyncio.ensure_future(admission.admit_async(Job(), nothing, wait=True))
        await asyncio.sleep(0)
        admission.close("it accepts nothing more")
        with pytest.raises(UnsupportedError, match="scheduler: closed"):
            await task
        assert not task.cancelled()

    waiting = begin(admission.admit, Job(), nothing, wait=True)
    in_line(admission, 1)
    asyncio.run(main())
    with pytest.raises(UnsupportedError, match="scheduler: closed"):
        waiting.result(20)
    for refused in (lambda: admission.admit(Job(), nothing), admission.require_room):
        with pytest.raises(UnsupportedError, match="scheduler: closed"):
            refused()
    assert counts(admission) == (1, 0, 1)


@pytest.mark.parametrize("timeout", [1e11, 1e300, float("inf"), 10**400, threading.TIMEOUT_MAX])
def test_a_timeout_of_centuries_is_waited_for(timeout: float) -> None:
    admission, holder = full()

    async def main() -> None:
        await admission.admit_async(Job.within(timeout), nothing, wait=True)

    for wait in (lambda: admission.admit(Job.within(timeout), nothing, wait=True), lambda: asyncio.run(main())):
        waiting = begin(wait)
        in_line(admission, 1)
        admission.leave(holder, "completed")
        waiting.result(20)
        (holder,) = admission.jobs()


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("-inf"), "3", True, [1.0]])
def test_a_timeout_that_is_no_positive_number_is_refused(timeout: Any) -> None:
    with pytest.raises(UnsupportedError, match=r"timeout: expected a positive number of seconds or None, got"):
        Job.within(timeout)

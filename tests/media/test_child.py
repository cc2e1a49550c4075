"""Calls in a child: results, and every way in which one can end without."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import child_tasks
import pytest

from megaseg.errors import FeatureError, UnsupportedError
from megaseg.media.child import ChildError, Limits, call

LIMITS = Limits(memory=1 << 30, patience=20)


def run(function: Any, *args: Any, limits: Limits = LIMITS, **options: Any) -> Any:
    return call(function, *args, subject="film.mp4", limits=limits, **options)


def ended(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


def wait_for(process: int) -> None:
    deadline = time.monotonic() + 10
    while not ended(process):
        assert time.monotonic() < deadline, "the child lives on"
        time.sleep(0.01)


def test_messages_and_the_result_come_in_order() -> None:
    messages: list[Any] = []
    assert run(child_tasks.add, 2, 3, on_message=messages.append) == 5
    assert messages == [{"left": 2}, {"right": 3}]


def test_what_libraries_print_is_no_message(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(child_tasks.chat) == "done"
    assert capfd.readouterr() == ("", "")


def test_errors_of_the_family_come_as_they_are() -> None:
    with pytest.raises(UnsupportedError, match=r"^no such extra$"):
        run(child_tasks.refuse)


def test_an_unexpected_error_names_the_file_and_keeps_its_traceback() -> None:
    with pytest.raises(FeatureError, match=r"^film.mp4: ZeroDivisionError: of some library$") as caught:
        run(child_tasks.fail)
    assert isinstance(caught.value.__cause__, ChildError)
    assert "in fail" in str(caught.value.__cause__)


def test_a_crash_is_an_error_that_names_the_file() -> None:
    with pytest.raises(FeatureError, match=r"^film.mp4: reading crashed: SIGSEGV$"):
        run(child_tasks.crash)


def test_memory_is_limited() -> None:
    assert run(child_tasks.fill, 300) == 300 << 20
    with pytest.raises(FeatureError, match=r"^film.mp4: it needs more memory than 256 MiB$"):
        run(child_tasks.fill, 300, limits=Limits(memory=256 << 20))


def test_a_child_without_progress_is_ended() -> None:
    children: list[int] = []
    with pytest.raises(FeatureError, match=r"^film.mp4: reading stopped: no progress for 2 s$"):
        run(child_tasks.hang, limits=Limits(patience=2), on_message=children.append)
    wait_for(children[0])


def test_a_silent_child_ends_when_its_caller_says_so() -> None:
    children: list[int] = []
    start = time.monotonic()

    def stop() -> None:
        if children:
            raise TimeoutError("nobody waits")

    with pytest.raises(TimeoutError, match="nobody waits"):
        run(child_tasks.hang, limits=Limits(patience=60), on_message=children.append, on_silence=stop)
    assert time.monotonic() - start < 30
    wait_for(*children)


def test_an_interrupt_of_the_parent_ends_the_child() -> None:
    children: list[int] = []

    def interrupt(process: int) -> None:
        children.append(process)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(child_tasks.hang, on_message=interrupt)
    wait_for(children[0])


def test_a_child_dies_with_its_parent() -> None:
    code = (
        "import child_tasks; from megaseg.media.child import Limits, call;"
        "call(child_tasks.hang, subject='', limits=Limits(), on_message=lambda pid: print(pid, flush=True))"
    )
    path = os.pathsep.join(filter(None, sys.path))
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    wait_for(child)


def test_a_child_sees_the_same_modules_and_has_a_group_of_its_own() -> None:
    path, group, process = run(child_tasks.environment)
    assert path == sys.path
    assert group == process != os.getpgid(0)

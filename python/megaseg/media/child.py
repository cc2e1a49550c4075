"""Calls in a process of their own: a crash, a hang or a lack of memory there is an error here.

The child is a fresh interpreter (no fork of a threaded parent), has a limit of memory, and dies with its parent.
Arguments, messages and results are JSON.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any, NoReturn

from megaseg.engine.inputs.system import die_with
from megaseg.errors import FeatureError, ResourceLimitError, UnsupportedError

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from megaseg.media.child import main; main()"
_MIB = 1 << 20
_ERRORS = {error.__name__: error for error in (FeatureError, UnsupportedError, ResourceLimitError)}
_STARTING = 60.0  # seconds that an interpreter may take to start, whatever the patience
_PULSE = 1.0  # seconds of silence after which the caller is asked
_TAIL = 2000  # bytes of what the child wrote to its standard error that an error keeps


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child may use before it is ended."""

    memory: int = 4 << 30  # bytes of data that it may allocate, as the system counts them (RLIMIT_DATA)
    patience: float = 60.0  # seconds without a message, from when it has started


class ChildError(Exception):
    """What the child told of its end: its traceback, or the tail of its standard error."""


Tell = Callable[[Any], None]


def call(
    function: Callable[..., Any],
    *args: Any,
    subject: str,
    limits: Limits,
    on_message: Tell = lambda _: None,
    on_silence: Callable[[], None] = lambda: None,
) -> Any:
    """Result of ``function(*args, tell=...)`` in a child, where ``tell`` sends a message to ``on_message`` here.

    ``on_silence`` is called for each second without a message. What either raises ends the child.
    ``function`` is one of a module; ``args``, messages and the result are JSON. ``subject`` is what errors name.

    Raises:
        FeatureError: the child crashed, hung, or met an unexpected error.
        MegasegError: as the function raised it.
    """
    with tempfile.TemporaryFile() as log, _started(log) as process:
        task = {
            "function": [function.__module__, function.__qualname__],
            "args": args,
            "memory": limits.memory,
            "parent": os.getpid(),
        }
        with contextlib.suppress(BrokenPipeError), process.stdin as stream:  # type: ignore[union-attr]
            stream.write(json.dumps(task).encode())
        for kind, value in _answers(process, subject, limits.patience):
            if kind == "message":
                on_message(value)
            elif kind == "silence":
                on_silence()
            elif kind == "started":
                continue
            elif kind == "result":
                return value
            else:
                _raise(subject, value)
        _raise_end(subject, process.wait(), log, limits)


@contextlib.contextmanager
def _started(log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-I", "-c", _START, json.dumps(sys.path)]
    environment = {**os.environ, "MALLOC_ARENA_MAX": "2"}  # glibc's arenas would hold on to 8 times the memory
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env=environment,
        start_new_session=True,  # Ctrl-C is for the parent, which ends the child
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]


def _answers(process: subprocess.Popen[bytes], subject: str, patience: float) -> Iterator[tuple[str, Any]]:
    """Kind and value of each line that the child writes, until it ends; ``silence`` for each second without one."""
    output, left = process.stdout.fileno(), b""  # type: ignore[union-attr]
    wait, heard = max(patience, _STARTING), time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while (ready := selector.select(min(wait, _PULSE))) or time.monotonic() < heard + wait:
            if not ready:
                yield "silence", None
                continue
            block = os.read(output, 1 << 16)
            if not block:
                return
            wait, heard = patience, time.monotonic()
            *lines, left = (left + block).split(b"\n")
            for line in lines:
                yield tuple(json.loads(line))
    raise FeatureError(f"{subject}: reading stopped: no progress for {wait:g} s")


def _raise(subject: str, error: Mapping[str, str]) -> NoReturn:
    cause = ChildError(error["traceback"])
    known = _ERRORS.get(error["kind"])
    raise (known(error["text"]) if known else FeatureError(f"{subject}: {error['text']}")) from cause


def _raise_end(subject: str, code: int, log: IO[bytes], limits: Limits) -> NoReturn:
    log.seek(max(log.seek(0, os.SEEK_END) - _TAIL, 0))
    tail = log.read().decode("utf-8", "replace").strip()
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    if "bad_alloc" in tail or "MemoryError" in tail:
        name = f"it needs more memory than {limits.memory // _MIB} MiB"
    raise FeatureError(f"{subject}: reading crashed: {name}") from ChildError(tail)


def main() -> None:
    """Run one call in this process, which was started for it."""
    answers = os.dup(1)
    os.dup2(2, 1)  # what libraries print is no answer
    task = json.load(sys.stdin)
    die_with(task["parent"])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (task["memory"], task["memory"]))

    def answer(kind: str, value: Any) -> None:
        data = memoryview(json.dumps([kind, value]).encode() + b"\n")
        while data:
            data = data[os.write(answers, data) :]

    answer("started", None)
    try:
        module, name = task["function"]
        function = getattr(importlib.import_module(module), name)
        answer("result", function(*task["args"], tell=lambda value: answer("message", value)))
    except MemoryError:
        text = f"it needs more memory than {task['memory'] // _MIB} MiB"
        answer("error", {"kind": "MemoryError", "text": text, "traceback": ""})
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent says it
        known = type(error).__name__ in _ERRORS
        text = str(error) if known else f"{type(error).__name__}: {error}"
        answer("error", {"kind": type(error).__name__, "text": text, "traceback": traceback.format_exc()})

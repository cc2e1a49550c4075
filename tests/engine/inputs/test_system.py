"""What stands in for Linux's own calls where they are missing, and that nothing else asks for them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from megaseg.engine.inputs import system

# A process that finds what macOS has: none of Linux's own functions, no /proc, no /sys, no prctl.
FOREIGN = """
import os, sys, urllib.request  # which asks macOS for its proxies when it is imported
for name in ("copy_file_range eventfd fdatasync getrandom getxattr listxattr memfd_create pidfd_open pipe2 "
             "posix_fadvise posix_fallocate removexattr sched_getaffinity sched_setaffinity setxattr splice").split():
    if hasattr(os, name):
        delattr(os, name)
def refuse(event, args):
    if event == "open" and str(args[0]).startswith(("/proc", "/sys")) or event == "ctypes.dlsym" and "prctl" in args:
        raise FileNotFoundError(f"{event}: {args}")
sys.addaudithook(refuse)
sys.platform = "darwin"
"""
SEGMENT = "from megaseg.cli import main; sys.argv[1:] = ['segment', 'sample', '--output', '{output}']; main()"
FAR = 30.0  # seconds


def foreign(code: str, **options: Any) -> subprocess.Popen[str]:
    path = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, "PYTHONPATH": path, "MEGASEG_CACHE": ""}
    return subprocess.Popen([sys.executable, "-c", FOREIGN + code], text=True, env=environment, **options)


def test_the_sample_is_segmented_without_what_linux_alone_has(tmp_path: Path) -> None:
    output = tmp_path / "scenes.json"
    process = foreign(SEGMENT.format(output=output), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    _, said = process.communicate(timeout=FAR)
    assert process.returncode == 0, said
    here = [sys.executable, "-m", "megaseg", "segment", "sample", "--output", str(tmp_path / "here.json")]
    subprocess.run(here, check=True, stdout=subprocess.DEVNULL, timeout=FAR)
    assert json.loads(output.read_text())["tracks"] == json.loads((tmp_path / "here.json").read_text())["tracks"]


@pytest.mark.parametrize("wish", ["os.memfd_create('x')", "open('/proc/self/status')", "ctypes.CDLL(None).prctl"])
def test_the_foreign_process_has_none_of_it(wish: str) -> None:
    process = foreign(f"import ctypes; {wish}", stderr=subprocess.PIPE)
    _, said = process.communicate(timeout=FAR)
    assert process.returncode == 1
    assert "AttributeError" in said or "FileNotFoundError" in said


def test_cpus_without_affinities_are_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert system.usable_cpus() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 96)
    assert system.usable_cpus() == 96


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_passing_file_ends_with_its_context(on_disk: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if on_disk:
        monkeypatch.delattr(os, "memfd_create")
    with system.passing_file() as path:
        path.write_bytes(b"kept")
        assert path.read_bytes() == b"kept"
        assert on_disk != str(path).startswith("/proc")
    assert not path.exists()


def test_a_process_ends_with_its_parent_without_prctl() -> None:
    watched = FOREIGN + (
        "import time; from megaseg.engine.inputs import system;"
        "system.die_with(os.getppid()); print('on', flush=True); time.sleep(600)"
    )
    code = (
        f"import subprocess; child = subprocess.Popen([sys.executable, '-c', {watched!r}], stdout=subprocess.PIPE);"
        "child.stdout.readline(); print(child.pid, flush=True); child.wait()"
    )
    with foreign(code, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(child, 0)
        parent.send_signal(signal.SIGKILL)
    end = time.monotonic() + FAR
    while Path(f"/proc/{child}").exists() and "State:\tZ" not in Path(f"/proc/{child}/status").read_text():
        assert time.monotonic() < end, "the child lives on"
        time.sleep(0.05)


@pytest.mark.parametrize(("platform", "nice"), [("linux", 3), ("darwin", 0)])
def test_a_nice_value_is_of_a_thread_or_of_nobody(platform: str, nice: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    before, found = os.getpriority(os.PRIO_PROCESS, 0), []

    def run() -> None:
        system.lower_priority(before + 3)
        found.append(os.getpriority(os.PRIO_PROCESS, 0))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [before + nice]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before

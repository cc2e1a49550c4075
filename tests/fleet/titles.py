"""Titles to segment: a model that takes a moment a title, feature files, and what each result must be."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from support import random_checkpoint, random_features, small_config

from megaseg import Engine, save_checkpoint

CONFIG = small_config(max_length=17, hidden_size=192, ffn_size=384)
ROOT = Path(__file__).resolve().parents[2]


def make_titles(root: Path, count: int, shots: int = 60) -> None:
    """``count`` feature files in two folders, and the checkpoint ``scene.safetensors`` beside them."""
    save_checkpoint(root / "scene.safetensors", random_checkpoint(CONFIG))
    for folder in ("a", "b"):
        (root / "in" / folder).mkdir(parents=True)
    for i in range(count):
        path = root / "in" / "ab"[i % 2] / f"{i}.npz"
        np.savez(path, **random_features(CONFIG, shots + i, seed=i))


def expected_results(root: Path) -> dict[str, str]:
    """What ``Engine.segment`` says of each title, as the bytes of its result."""
    engine = Engine.from_checkpoint(root / "scene.safetensors", num_threads=1)
    return {
        str(path.relative_to(root / "in").with_suffix("")): engine.segment(path).to_json() + "\n"
        for path in sorted((root / "in").rglob("*.npz"))
    }


def results_in(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder).with_suffix("")): path.read_text()
        for path in folder.rglob("[!.]*.json")
        if path.name != "catalog.json"
    }


def command(root: Path, *options: str) -> list[str]:
    """``megaseg catalog`` on those titles, in a process of its own, one title at a time."""
    return [
        *(sys.executable, "-m", "megaseg", "catalog", str(root / "in"), "-o", str(root / "out"), "--json"),
        *("-c", str(root / "scene.safetensors"), "--batch-size", "1", *options),
    ]


def wait_for(event: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not event():
        assert time.monotonic() < deadline, f"no {what} in a minute"
        time.sleep(0.002)


def descendants(pid: int) -> set[int]:
    """Processes that a process started, and those that they did."""
    parents = {}
    for other in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            parents[int(other)] = int(Path(f"/proc/{other}/stat").read_text().rpartition(")")[2].split()[1])
    found, more = set(), {pid}
    while more := {child for child, parent in parents.items() if parent in more} - found:
        found |= more
    return found


def named(part: str, pids: set[int]) -> set[int]:
    """Those of the processes whose command line has ``part``."""
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            found |= {pid} if part in Path(f"/proc/{pid}/cmdline").read_text(errors="replace") else set()
    return found

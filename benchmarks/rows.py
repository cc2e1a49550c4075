"""A measured row, and how it is measured: alternating runs, percentiles, and where they ran."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.amx import has_amx

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Row:
    """One measurement of one subject (a backend, a target) in one case.

    ``unit`` is that of p20, p50 and p80; ``work`` per second is derived from the median where it has a meaning.
    """

    case: str
    subject: str
    unit: str
    p20: float
    p50: float
    p80: float
    repeats: int
    facts: Mapping[str, Any] = field(default_factory=dict)


def row_of(case: str, subject: str, unit: str, values: list[float], **facts: Any) -> Row:
    p20, p50, p80 = (float(np.percentile(values, q)) for q in (20, 50, 80))
    return Row(case, subject, unit, p20, p50, p80, len(values), facts)


def alternate(subjects: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each subject's runs, taken in turns so that a busy moment of the machine hits all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(repeats):
        for name, run in subjects.items():
            time.sleep(0.1)  # other libraries' threads spin for a while after their work
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def environment() -> dict[str, Any]:
    """The machine, the versions and the commit that a row belongs to."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    versions = {name: version(name) for name in ("numpy", "torch", "safetensors", "onnxruntime", "openvino")}
    changed = git("status", "--porcelain", "--", "csrc", "kernels", "engine", "benchmarks/cases")
    return {
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "amx": has_amx(),
        "python": platform.python_version(),
        **versions,
        "megaseg": version("megaseg"),
        "commit": git("rev-parse", "--short", "HEAD") + ("+changes" if changed else ""),
        "date": time.strftime("%Y-%m-%d"),
    }


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def cpu_model() -> str:
    facts: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    return (
        f"{facts.get('model name', platform.machine())} (family {facts.get('cpu family')}, model {facts.get('model')})"
    )


def as_dict(row: Row) -> dict[str, Any]:
    return dataclasses.asdict(row)

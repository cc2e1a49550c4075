"""Worker processes from the parent's side: start one, ask it, find its best batch and mode, take turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.rows import ROOT

THREADS = 2
OURS = "megaseg"
NEWEST = " (newest)"  # after the name of a subject: it runs in the Python that PYTHON names
PYTHON = "MEGASEG_PEERS_PYTHON"
SUBJECTS = (
    *(OURS, "torch eager", "torch.compile", "AOTInductor", f"torch.compile{NEWEST}", f"AOTInductor{NEWEST}"),
    *("ONNX Runtime", "OpenVINO"),
)
# Engines of movies pick their own; compiling takes ten seconds and more for each. What never was fastest is left out.
WHOLE_MOVIES = (OURS, "ONNX Runtime on our graph")
BATCHES = {**dict.fromkeys(WHOLE_MOVIES, (1,)), "torch.compile": (128,), "AOTInductor": (128,), "OpenVINO": (32, 64)}
# OpenVINO's are performance hints; those of torch's int8 are the type of all that is not quantised, ours a case's.
MODES = {OURS: ("",), "OpenVINO": ("throughput", "latency"), "torch.compile, int8": ("float32", "bfloat16")}


class Worker:
    """One subject in one process. ``problem`` says why it cannot run what it was asked for, if it cannot."""

    def __init__(self, subject: str, job: Mapping[str, Any], environment: Mapping[str, str], label: str = "") -> None:
        self.subject, self.problem, self.best, self.searched = label or subject, "", {}, {}
        self.kind = subject.removesuffix(NEWEST)
        self.items, self.facts = 0, {}
        self.modes = MODES.get(self.kind) or MODES.get(f"{self.kind}, {job.get('type')}", ())
        python = os.environ.get(PYTHON) if subject.endswith(NEWEST) else sys.executable
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [python or sys.executable, "-m", "benchmarks.peers.worker"],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": str(job["threads"]), **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        self.ask(subject=self.kind, **job)
        if python is None:
            self.problem = f"{PYTHON} names no Python that has a newer torch"

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            print(json.dumps(request), file=self.process.stdin, flush=True)
            reply: dict[str, Any] = json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            self.log.seek(0)
            reply = {"unsupported": f"its process ended: {self.log.read().strip().splitlines()[-1:]}"}
        self.problem = reply.get("unsupported", "")
        return reply

    def prepare(self, batch: int, mode: str) -> None:
        reply = self.ask(do="prepare", batch=batch, mode=mode)
        self.items, self.facts = reply.get("items", 0), reply.get("facts", {})

    def search(self, batches: tuple[int, ...], modes: tuple[str, ...] = ()) -> None:
        """Leave the fastest batch and mode prepared; ``searched`` keeps items per second of each."""
        if len(batches) > 1:
            batches = BATCHES.get(self.kind, batches)
        chosen = (modes or self.modes) if self.modes else ("",)
        settings = [(batch, mode) for mode in chosen for batch in batches]
        for batch, mode in settings:
            self.prepare(batch, mode)
            if self.problem:
                return
            if len(settings) > 1:
                self.searched[f"{batch} {mode}".strip()] = round(self.items / self.seconds(1)[0], 1)
        batch, mode = settings[-1]
        if self.searched:
            name, _, mode = max(self.searched, key=lambda key: self.searched[key]).partition(" ")
            batch = int(name)
        if (batch, mode) != settings[-1]:
            self.prepare(batch, mode)
        self.best = {"batch": batch} | ({"mode": mode} if mode and self.kind != OURS else {})

    def seconds(self, times: int) -> list[float]:
        """Seconds of each of ``times`` runs."""
        time.sleep(0.1)  # other libraries' threads spin for a while after their work
        result: list[float] = self.ask(do="run", times=times).get("seconds", [])
        return result

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        self.log.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

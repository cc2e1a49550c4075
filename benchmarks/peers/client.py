"""Worker processes from the parent's side: start one, ask it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from benchmarks.rows import ROOT


class Worker:
    """One subject in one process. ``problem`` says why it cannot run, if it cannot."""

    def __init__(self, subject: str, job: dict[str, Any], environment: dict[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "benchmarks.peers.worker"]
        variables = os.environ | {"OMP_NUM_THREADS": str(job["threads"])} | (environment or {})
        self.subject, self.problem = subject, ""
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.ask(subject=subject, **job)

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.subject}: its process ended\n{self.process.stderr.read()[-2000:]}")
        reply: dict[str, Any] = json.loads(line)
        self.problem = reply.get("unsupported", "")
        return reply

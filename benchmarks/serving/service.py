"""A service in a process of its own, started as a user starts it, and what it takes of the machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.rows import ROOT


@dataclass(frozen=True)
class Service:
    """``seconds`` and ``resident`` are what its process has used and holds now."""

    pid: int
    grpc_port: int
    http_port: int

    @property
    def seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def resident(self) -> float:
        """MiB."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


@contextmanager
def running(checkpoint: Path, folder: Path, **options: Any) -> Iterator[Service]:
    """``megaseg serve`` on free ports until the block ends; it must then stop by itself with exit code 0."""
    log = folder / "service.log"
    flags = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
    command = [sys.executable, "-m", "megaseg", "serve", f"--checkpoint=scene={checkpoint}"]
    with log.open("w") as stderr:
        process = subprocess.Popen([*command, "--http-port=0", "--grpc-port=0", *flags], stderr=stderr)
    try:
        yield Service(process.pid, *_ports(process, log))
    finally:
        process.send_signal(signal.SIGTERM)
        if process.wait(60):
            raise RuntimeError(f"megaseg serve ended with {process.returncode}: {log.read_text()[-2000:]}")


def _ports(process: subprocess.Popen[bytes], log: Path) -> tuple[int, int]:
    while process.poll() is None:
        for line in log.read_text().splitlines():
            entry = json.loads(line)
            if "grpc_port" in entry:
                return entry["grpc_port"], entry["http_port"]
        time.sleep(0.05)
    raise RuntimeError(f"megaseg serve did not start: {log.read_text()[-2000:]}")


def client(*arguments: object) -> Any:
    """What a load of ``benchmarks.serving.client`` measured, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.serving.client", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout)

"""Every kernel by itself: the rows of ``pytest benchmarks/kernels``."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.rows import ROOT, Row, row_of


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.json"
        command = [sys.executable, "-m", "pytest", str(ROOT / "benchmarks" / "kernels"), f"--benchmark-json={path}"]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        measured = json.loads(path.read_text(encoding="utf-8"))["benchmarks"]
    return [
        row_of(m["name"].split("[")[0].removeprefix("test_"), m["param"], "s", m["stats"]["data"], **m["extra_info"])
        for m in measured
    ]

"""What a user waits for before the first result, in fresh processes, and what an installation takes on disk."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.rows import ROOT, Row, row_of

REPEATS = 9
# Engine time only: the interpreter's own start is in neither number.
IMPORT = "import time; t = time.perf_counter(); import megaseg; print(time.perf_counter() - t)"
FIRST = """
import time
import megaseg
from pathlib import Path
sample = next(iter(sorted((Path(megaseg.__file__).parent / "samples").glob("*.npz"))), None)
if sample is None:
    raise SystemExit("no sample")
start = time.perf_counter()
megaseg.Engine.from_checkpoint("screenplay-scenes").segment(sample)
print(time.perf_counter() - start)
"""


def run() -> list[Row]:
    rows = [row_of("import megaseg", "seconds in the process", "s", seconds(IMPORT), allowed=0.15)]
    first = seconds(FIRST)
    if first:
        rows.append(row_of("load + first segment of the sample", "native", "s", first, allowed=0.5))
    return [
        *rows,
        row_of("installed size without extras and NumPy", "files", "MB", [installed_megabytes()], allowed=25),
    ]


def seconds(code: str) -> list[float]:
    values = []
    for _ in range(REPEATS):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        if "no sample" in done.stderr:
            return []
        values.append(float(done.stdout))
        time.sleep(0.05)
    return values[1:]  # the first one fills the page cache


def installed_megabytes() -> float:
    """Everything that `pip install .` puts on disk, byte code included and NumPy excluded."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, str(ROOT)]
        subprocess.run(pip, check=True, capture_output=True)
        entries = [entry for entry in Path(folder).iterdir() if not entry.name.startswith("numpy")]
        files = [file for entry in entries for file in (entry.rglob("*") if entry.is_dir() else [entry])]
        return sum(file.stat().st_size for file in files if file.is_file()) / 1e6

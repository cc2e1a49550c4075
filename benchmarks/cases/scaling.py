"""How time and memory of ours grow with the movie: one process a length, bfloat16 where the CPU has it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.inputs import ACT, SCENE, random_checkpoint
from benchmarks.rows import ROOT, Row, row_of
from megaseg.engine.backends.native.artefact import compile_checkpoint

LENGTHS = {"scene": (64, 250, 500, 1000, 2000), "act": (300, 600, 1200, 2000, 3000)}

_CHILD = """
import json, sys, time
from benchmarks.inputs import features_of
from megaseg.engine.backends.native.backend import NativeBackend
from megaseg.engine.backends.protocol import Excerpt
backend = NativeBackend(sys.argv[1], num_threads=2)
features = features_of(backend.info.config, int(sys.argv[2]))
def memory(key):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(key)) / 1024
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak starts again from here
before = memory("VmRSS")
backend.run([Excerpt.whole(features)])
seconds = []
for _ in range(3):
    start = time.perf_counter()
    backend.run([Excerpt.whole(features)])
    seconds.append(time.perf_counter() - start)
print(json.dumps([seconds, memory("VmHWM") - before]))
"""


def run() -> list[Row]:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for config in (SCENE, ACT):
            path = Path(folder) / f"{config.task}.mseg"
            kind = compile_checkpoint(random_checkpoint(config), path).compute_type
            lengths = LENGTHS[config.task]
            measured: dict[int, tuple[list[float], list[float]]] = {shots: ([], []) for shots in lengths}
            for shots in lengths * 2:  # twice round: a busy moment of the machine hits one half
                command = [sys.executable, "-c", _CHILD, str(path), str(shots)]
                done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
                seconds, grown = json.loads(done.stdout)
                measured[shots][0].extend(seconds)
                measured[shots][1].append(grown)
            for shots, (times, memory) in measured.items():
                facts = {"shots": shots, "compute_type": kind}
                facts["memory_mib_above_weights_and_features"] = round(max(memory), 1)
                rows.append(row_of(f"{config.task} preset by length", f"{shots} shots", "s", times, **facts))
    return rows

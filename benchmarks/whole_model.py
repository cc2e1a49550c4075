"""A whole movie, native against torch eager on the model as written: speed in one process, memory in one each."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.inputs import error, features_of, random_checkpoint
from benchmarks.rows import ROOT, Row, alternate, row_of
from megaseg.engine.backends.native import NativeBackend
from megaseg.engine.backends.torch import TorchBackend
from megaseg.engine.checkpoint import Checkpoint, ModelConfig, save_checkpoint

THREADS = 2
PRECISE = 48  # shots that the float64 reference is asked about


def best_batch(backend: TorchBackend, features: list[Any]) -> int:
    """The batch size of windows that torch eager runs fastest with."""
    seconds = {}
    for batch in (32, 64, 128, 256):
        backend.batch = batch
        start = time.perf_counter()
        backend.run(features)
        seconds[batch] = time.perf_counter() - start
    return min(seconds, key=lambda batch: seconds[batch])


def speed(case: str, config: ModelConfig, shots: int, repeats: int) -> list[Row]:
    """Both backends in turns, each checked against float64 on the same features."""
    import torch

    torch.set_num_threads(THREADS)
    checkpoint = random_checkpoint(config)
    features = features_of(config, shots)
    native, eager = NativeBackend(checkpoint, num_threads=THREADS), TorchBackend(checkpoint)
    if config.task == "scene":
        eager.batch = best_batch(eager, [array[:256] for array in features])
    checked = [array[:PRECISE] for array in features] if config.task == "scene" else features
    exact = TorchBackend(checkpoint, compute_type="float64").run(checked)
    outputs: dict[str, np.ndarray] = {}

    def runner(name: str, backend: NativeBackend | TorchBackend) -> Callable[[], None]:
        def run() -> None:
            outputs[name] = backend.run(features)

        return run

    subjects = {"native": runner("native", native), "torch eager": runner("torch eager", eager)}
    seconds = alternate(subjects, repeats)
    whole = len(checked[0]) - (config.max_length // 2 if config.task == "scene" else 0)  # windows not cut short
    facts = {
        "native": {**native.describe()},
        "torch eager": {"batch": eager.batch if config.task == "scene" else 1, "num_threads": THREADS},
    }
    median = float(np.median(seconds["torch eager"]))
    return [
        row_of(
            case,
            name,
            "s",
            values,
            shots=shots,
            shots_per_s=round(shots / float(np.median(values)), 1),
            speedup=round(median / float(np.median(values)), 2),
            error=error(outputs[name][:whole], exact[:whole]),
            **facts[name],
        )
        for name, values in seconds.items()
    ]


_CHILD = """
import sys, json
from benchmarks.inputs import features_of
from megaseg.engine.checkpoint import load_checkpoint
path, backend, shots = sys.argv[1], sys.argv[2], int(sys.argv[3])
checkpoint = load_checkpoint(path)
if backend == "native":
    from megaseg.engine.backends.native import NativeBackend
    engine = NativeBackend(checkpoint, num_threads=2)
else:
    import torch
    from megaseg.engine.backends.torch import TorchBackend
    torch.set_num_threads(2)
    engine = TorchBackend(checkpoint)
    engine.batch = int(sys.argv[4])
engine.run(features_of(checkpoint.config, shots))
with open("/proc/self/status") as file:
    print(next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) * 1024)
"""


def peak_memory(case: str, config: ModelConfig, shots: int, batch: int) -> list[Row]:
    """Peak resident memory of a process that loads the checkpoint from its file and runs one movie."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_checkpoint(path, random_checkpoint(config))
        peaks = {}
        for name in ("native", "torch eager"):
            command = [sys.executable, "-c", _CHILD, str(path), name, str(shots), str(batch)]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
            peaks[name] = json.loads(done.stdout) / 2**20
    return [
        row_of(case, name, "MiB", [peak], shots=shots, of_torch=round(peak / peaks["torch eager"], 3))
        for name, peak in peaks.items()
    ]


def run(name: str, config: ModelConfig, shots: int, repeats: int) -> list[Row]:
    rows = speed(f"{name}, {shots} shots", config, shots, repeats)
    return rows + peak_memory(f"{name}, {shots} shots, peak memory", config, shots, rows[1].facts["batch"])


__all__ = ["Checkpoint", "peak_memory", "run", "speed"]

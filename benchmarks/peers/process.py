"""What concerns whole processes: peak memory, cold start, and the machine's ceilings."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.inputs import SCENE
from benchmarks.peers.client import MODES, OURS, SUBJECTS, THREADS, Worker
from benchmarks.peers.files import Files
from benchmarks.peers.judge import judged, unsupported
from benchmarks.peers.models import SCENE_PRESET
from benchmarks.peers.subjects import Unsupported, compiled_model
from benchmarks.rows import ROOT, Row, row_of

CEILINGS = "registers only, all threads"
COLD = "cold start: import, load, first window"
BATCH = 64  # of a peer whose best was not searched for in this run


def ceilings(folder: Path) -> list[Row]:
    """GFLOP/s of multiply-adds that touch no memory, by type."""
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        return [unsupported(CEILINGS, "all", "GFLOP/s", "no C++ compiler")]
    program, source = folder / "ceilings", Path(__file__).with_name("ceilings.cpp")
    options = ["-O2", "-std=c++20", "-march=native", "-pthread"]
    built = subprocess.run([compiler, *options, str(source), "-o", str(program)], capture_output=True, check=False)
    if built.returncode:
        return [unsupported(CEILINGS, "all", "GFLOP/s", f"{source.name} does not compile here (x86 only)")]
    done = subprocess.run([str(program), str(THREADS)], capture_output=True, text=True, check=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    return [row_of(CEILINGS, name, "GFLOP/s", [float(rate)]) for name, rate in lines]


def memory(files: Files, measured: list[Row]) -> list[Row]:
    """Peak resident memory of a process that loads the model from its file and runs what was fastest."""
    settings = {row.subject: row.facts for row in measured}
    rows = []
    for subject in SUBJECTS:
        with Worker(subject, files.job(subject, SCENE_PRESET, 512, "bfloat16"), {}) as worker:
            facts = settings.get(subject, {})
            batch, mode = facts.get("batch", BATCH), facts.get("mode", MODES.get(subject, ("",))[0])
            if not worker.problem:
                worker.prepare(batch, mode)
            if worker.problem:
                rows.append(unsupported("scene preset, peak memory, bfloat16", subject, "MiB", worker.problem))
                continue
            chosen = {"target": worker.facts["target"]} if subject == OURS else {"batch": batch}
            peak = worker.ask(do="peak")["peak"] / 2**20
            rows.append(row_of("scene preset, peak memory, bfloat16", subject, "MiB", [peak], **chosen))
    return judged(rows, 1 / 0.4, 1 / 0.3)


_CHILD = """
import json, sys, time
start = time.perf_counter()
model, sizes = sys.argv[1], json.loads(sys.argv[2])
{body}
print(time.perf_counter() - start)
"""
_OURS = """
import megaseg
import numpy as np
engine = megaseg.Engine.from_checkpoint(model, compute_type="bfloat16", num_threads=2)
engine.logits({name: np.ones((1, size), np.float32) for name, size in sizes.items()})
"""
_TORCH = """
import torch
from safetensors.torch import load_file
from megaseg.models import Mega
from megaseg.models.presets import PRESETS
torch.set_num_threads(2)
with torch.device("meta"):
    network = Mega(PRESETS["scene"])
network.load_state_dict(load_file(model), assign=True)
with torch.inference_mode():
    network.eval()({name: torch.ones(1, 17, size, dtype=torch.bfloat16) for name, size in sizes.items()})
"""
_ONNX = """
import numpy as np
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 2
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
session.run(None, {name: np.ones((1, 17, size), np.float32) for name, size in sizes.items()})
"""
_OPENVINO = """
import numpy as np
import openvino
core = openvino.Core()
network = core.read_model(model)
network.reshape({name: (1, 17, size) for name, size in sizes.items()})
hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "bf16", "INFERENCE_NUM_THREADS": 2}
compiled = core.compile_model(network, "CPU", hints)
compiled.infer_new_request({name: np.ones((1, 17, size), np.float32) for name, size in sizes.items()})
"""


def cold_start(files: Files, repeats: int = 7) -> list[Row]:
    """Seconds inside fresh processes, the files in the page cache; the interpreter's own start is in no number."""
    model = files.model(SCENE_PRESET)
    children = {
        OURS: (_OURS, _compiled(model)),
        f"{OURS}, from the checkpoint": (_OURS, model),
        "torch eager": (_TORCH, model.with_suffix(".bfloat16.safetensors")),
        "ONNX Runtime": (_ONNX, files.exported("ONNX Runtime", SCENE_PRESET, 512, "float32")),
        "OpenVINO": (_OPENVINO, files.exported("ONNX Runtime", SCENE_PRESET, 512, "float32")),
    }
    sizes = json.dumps({modality.name: modality.feature_size for modality in SCENE.modalities})
    environment = {**os.environ, "MEGASEG_CACHE": str(files.folder / "cache")}
    values: dict[str, list[float]] = {name: [] for name in children}
    problems: dict[str, str] = {}
    for _ in range(repeats + 1):
        for name, (body, path) in children.items():
            command = [sys.executable, "-c", _CHILD.format(body=body), str(path), sizes]
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                problems[name] = done.stderr.strip().splitlines()[-1]
            else:
                values[name].append(float(done.stdout) * 1e3)
    rows = [
        unsupported(COLD, name, "ms", problems[name]) if name in problems else row_of(COLD, name, "ms", times[1:])
        for name, times in values.items()  # the first run filled the page cache, and our own cache
    ]
    return judged(rows, 10, 20, against="torch eager")


def _compiled(model: Path) -> Path:
    """Our compiled model; where there is none to be had, the checkpoint, whose row then says why."""
    try:
        return compiled_model(model, "bfloat16")
    except Unsupported:
        return model

"""Ours and the peers on the presets, each in its best mode and batch size, in turns: the table of README.

Peers run the model as written (``megaseg.models.Mega`` or its ONNX export) on windows that were gathered before the
clock started. Every subject is checked against float64 logits of the same features in the same run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.inputs import ACT, SCENE, features_of, random_checkpoint
from benchmarks.peers.client import Worker
from benchmarks.peers.export import export, quantised
from benchmarks.rows import ROOT, Row, row_of
from megaseg.engine.artefact import compile_checkpoint
from megaseg.engine.backends.torch import TorchBackend
from megaseg.engine.checkpoint import ModelConfig, save_checkpoint

THREADS = 2
ROWS = 16  # logits of a scene model that are checked
TURNS = 7
SECONDS = 0.5  # of a turn
BATCHES = {"torch.compile": (128, 256)}  # compiling for each takes ten seconds
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}


@dataclass(frozen=True)
class Case:
    """One line of the table. ``must`` and ``aim`` are ratios over the best peer."""

    name: str
    title: str
    config: ModelConfig
    shots: int
    type: str
    must: float
    aim: float
    batches: tuple[int, ...] = (32, 64, 128)
    peers: tuple[str, ...] = ("torch eager", "torch.compile", "ONNX Runtime", "OpenVINO")
    mode: str = "throughput"
    environment: dict[str, str] = field(default_factory=dict)


_ONE = {"batches": (1,), "mode": "latency"}
CASES = (
    Case("scene-bf16", "scene preset, throughput, bfloat16", SCENE, 512, "bfloat16", 2.5, 3.5),
    Case("scene-fp32", "scene preset, throughput, float32", SCENE, 512, "float32", 1.8, 2.2),
    Case("scene-int8", "scene preset, throughput, int8", SCENE, 512, "int8", 8, 14),
    Case("latency-bf16", "scene preset, one window, bfloat16", SCENE, 1, "bfloat16", 2, 2.5, **_ONE),  # type: ignore[arg-type]
    Case("act-3000", "act preset, 3,000 shots, bfloat16", ACT, 3000, "bfloat16", 2.5, 4, **_ONE),  # type: ignore[arg-type]
    Case("act-1200", "act preset, 1,200 shots, bfloat16", ACT, 1200, "bfloat16", 2.5, 4, **_ONE),  # type: ignore[arg-type]
    Case(
        *("scene-avx2", "scene preset, throughput, AVX2 forced, float32", SCENE, 512, "float32", 1.5, 2),
        peers=("torch eager", "torch.compile"),  # the others cannot be held to AVX2
        environment=AVX2,
    ),
)


class Files:
    """Checkpoints and exports of the presets, made when first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def model(self, config: ModelConfig) -> Path:
        path = self.folder / f"{config.task}.safetensors"
        if not path.exists():
            save_checkpoint(path, random_checkpoint(config))
            _save_bfloat16(path)
        return path

    def onnx(self, case: Case) -> Path:
        shots = case.config.max_length if case.config.task == "scene" else case.shots
        path = self.folder / f"{case.config.task}-{shots}.onnx"
        if not path.exists():
            export(random_checkpoint(case.config), shots, path)
        if case.type != "int8":
            return path
        narrow = path.with_name(f"{path.stem}-int8.onnx")
        return narrow if narrow.exists() else quantised(path)


def _save_bfloat16(path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    tensors = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(path).items()}
    save_file(tensors, path.with_suffix(".bfloat16.safetensors"))


def run(only: tuple[str, ...] = ()) -> list[Row]:
    """Rows of the chosen cases; all without any."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MEGASEG_CACHE"] = str(Path(folder) / "cache")
        files = Files(Path(folder))
        for case in CASES:
            if not only or case.name in only:
                rows += compare(case, files)
        if not only or "cold" in only:
            rows += cold_start(files)
    return rows


def compare(case: Case, files: Files) -> list[Row]:
    """Rows of one case: time of each subject, and for the first case its peak memory."""
    job = {"model": str(files.model(case.config)), "shots": case.shots, "type": case.type, "threads": THREADS}
    workers: dict[str, Worker] = {}
    rows, best = [], {}
    for name in ("megaseg", *case.peers):
        reason = _cannot(name, case)
        if reason is None:
            onnx = str(files.onnx(case)) if name in ("ONNX Runtime", "OpenVINO") else ""
            isa = {"MEGASEG_ISA": "avx2"} if case.environment else {}
            worker = Worker(name, {**job, "onnx": onnx, "mode": case.mode}, {**case.environment, **isa})
            reason = worker.problem or None
        if reason is not None:
            rows.append(Row(case.title, name, "-", *(float("nan"),) * 3, 0, {"unsupported": reason}))
            continue
        workers[name] = worker
        batches = (1,) if name == "megaseg" else BATCHES.get(name, case.batches) if len(case.batches) > 1 else (1,)
        best[name] = _best_batch(worker, batches)
    exact = _exact(case)
    errors = {name: _error(worker, exact, files.folder) for name, worker in workers.items()}
    seconds = _in_turns(workers, best)
    rates = {name: best[name]["items"] / float(np.median(values)) for name, values in seconds.items()}
    leader = max((name for name in rates if name != "megaseg"), key=lambda name: rates[name], default=None)
    per = case.shots if case.config.task == "scene" and case.shots > 1 else 1
    for name, values in seconds.items():
        facts = {"items_per_s": round(rates[name], 2), "error": errors[name], "batch": best[name]["batch"]}
        facts |= best[name]["facts"]
        if leader:
            facts["ratio"] = round(rates[name] / rates[leader], 2)
        if name == "megaseg" and leader:
            facts |= {"best_peer": leader, "must": case.must, "aim": case.aim, "met": facts["ratio"] >= case.must}
            facts["error_of_peer"] = round(errors[name] / errors[leader], 2)
        scaled = [value / best[name]["items"] * per for value in values]
        rows.append(row_of(case.title, name, "s", scaled, **facts))
    if case.name in ("scene-bf16", "act-3000"):
        peaks = {name: worker.ask(do="peak")["peak"] / 2**20 for name, worker in workers.items()}
        rows += [
            row_of(f"{case.title}, peak memory", name, "MiB", [peak], of_torch=round(peak / peaks["torch eager"], 3))
            for name, peak in peaks.items()
        ]
    for worker in workers.values():
        worker.process.kill()
        worker.process.communicate()
    return rows


def _cannot(name: str, case: Case) -> str | None:
    if name == "ONNX Runtime" and case.type == "bfloat16":
        return "its CPU provider has no bfloat16 MatMul or LayerNormalization"
    if name == "OpenVINO" and case.type == "int8":
        return "needs calibration data and its own quantisation tool; no dynamic int8 from a float model"
    return None


def _best_batch(worker: Worker, batches: tuple[int, ...]) -> dict[str, Any]:
    """The batch of most items a second, found by a short run of each; the worker is left prepared with it."""
    found = []
    for batch in batches:
        reply = worker.ask(do="prepare", batch=batch)
        seconds = min(worker.ask(do="run", times=1)["seconds"] for _ in range(2))
        found.append((reply["items"] / seconds, batch, seconds, reply))
    by_batch = {batch: round(rate, 1) for rate, batch, _, _ in found}
    _, batch, seconds, reply = max(found, key=lambda entry: entry[0])
    if batch != batches[-1]:
        reply = worker.ask(do="prepare", batch=batch)
    return {
        "batch": batch,
        "seconds": seconds,
        "items": reply["items"],
        "facts": {**reply["facts"], "by_batch": by_batch},
    }


def _in_turns(workers: dict[str, Worker], best: dict[str, dict[str, Any]]) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(TURNS):
        for name, worker in workers.items():
            times = max(1, round(SECONDS / best[name]["seconds"]))
            seconds[name].append(worker.ask(do="run", times=times)["seconds"])
    return seconds


def _exact(case: Case) -> np.ndarray:
    features = features_of(case.config, case.shots)
    if case.config.task == "scene":
        features = [array[: ROWS + case.config.max_length] for array in features]
    exact = TorchBackend(random_checkpoint(case.config), compute_type="float64", passes=()).run(features)
    return exact[:ROWS] if case.config.task == "scene" else exact


def _error(worker: Worker, exact: np.ndarray, folder: Path) -> float:
    path = folder / "logits.npy"
    worker.ask(do="logits", path=str(path))
    got = np.load(path)
    rows = min(len(got), len(exact))
    return float(np.abs(got[:rows] - exact[:rows]).max())


_COLD = """
import time; start = time.perf_counter()
import json, sys
import numpy as np
subject, model, shapes = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
features = {name: np.ones((1, size), np.float32) for name, size in shapes.items()}
if subject == "torch":
    import torch
    torch.set_num_threads(2)
    from safetensors.torch import load_file
    from megaseg.engine.checkpoint import load_checkpoint
    from megaseg.models import Mega
    with torch.device("meta"):
        model_ = Mega(load_checkpoint(sys.argv[4]).config)
    model_.load_state_dict(load_file(model), assign=True)
    model_.to(torch.bfloat16).eval()
    with torch.inference_mode():
        model_({name: torch.from_numpy(x.repeat(17, 0))[None].to(torch.bfloat16) for name, x in features.items()})
else:
    import megaseg
    megaseg.Engine.from_checkpoint(model, compute_type="bfloat16", num_threads=2).logits(features)
print(time.perf_counter() - start)
"""


def cold_start(files: Files) -> list[Row]:
    """Seconds of a fresh process from its first line to the logits of one window, scene preset in bfloat16."""
    checkpoint = files.model(SCENE)
    compiled = checkpoint.with_suffix(".mseg")
    compile_checkpoint(random_checkpoint(SCENE), compiled, compute_type="bfloat16")
    shapes = json.dumps({modality.name: modality.feature_size for modality in SCENE.modalities})
    subjects = {
        "megaseg, compiled model": ("ours", compiled),
        "megaseg, checkpoint seen before": ("ours", checkpoint),
        "torch eager": ("torch", checkpoint.with_suffix(".bfloat16.safetensors")),
    }
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(TURNS):
        for name, (kind, path) in subjects.items():
            command = [sys.executable, "-c", _COLD, kind, str(path), shapes, str(checkpoint)]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
            seconds[name].append(float(done.stdout))
    torch_median = float(np.median(seconds["torch eager"][1:]))
    rows = []
    for name, values in seconds.items():
        ratio = round(torch_median / float(np.median(values[1:])), 2)
        facts = {"ratio": ratio} | ({"must": 10, "aim": 20, "met": ratio >= 10} if "compiled" in name else {})
        rows.append(row_of("cold start: import, load, first window", name, "s", values[1:], **facts))
    return rows

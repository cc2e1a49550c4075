"""The CPU engine against its peers, one process each, in turns: ``python -m benchmarks cpu [--only PART...]``.

A peer runs the model as written, in its fastest mode and batch size, on windows gathered beforehand. A row's ratio is
ours over the best peer's of the same case, its errors are against float64 on the same inputs.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.inputs import ACT, SCENE, ModelConfig, error
from benchmarks.peers import process
from benchmarks.peers.client import OURS, SUBJECTS, Worker
from benchmarks.peers.files import Files
from benchmarks.peers.judge import judged, unsupported
from benchmarks.rows import Row, row_of

BATCHES = (32, 64, 128)
AVX2 = {"MEGASEG_ISA": "avx2", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
UNLIMITED = {
    "ONNX Runtime": "no variable limits it: runs AVX-512, not counted as a peer",
    "OpenVINO": "its matrix products keep AVX-512 whatever the variable says, not counted as a peer",
}
FLOP_PER_CYCLE = 64  # of one core with AVX-512: two multiply-adds of 16 lanes
EXP_CYCLES = 3  # per 16 exponentials, if the ports did nothing else
WINDOW_GFLOP = (1.475, 2.711)  # of a scene preset's window: after the exact passes, and as written


@dataclass(frozen=True)
class Case:
    """One line of numbers. ``must`` and ``aim`` are ratios to the best peer, ``allowed`` an absolute error."""

    title: str
    config: ModelConfig
    shots: int
    type: str
    must: float | None = None
    aim: float | None = None
    allowed: float | None = None
    modes: tuple[str, ...] = ()  # of OpenVINO; all if empty
    environment: dict[str, str] = field(default_factory=dict)
    turns: tuple[int, int] = (6, 1)  # turns, runs in a turn

    @property
    def unit(self) -> str:
        return "windows/s" if self.batches == BATCHES else "ms"

    @property
    def batches(self) -> tuple[int, ...]:
        return BATCHES if self.config.task == "scene" and self.shots > 1 else (1,)


LATENCY: dict[str, Any] = {"shots": 1, "modes": ("latency",), "turns": (10, 5)}
CASES = {
    "scene-bf16": Case("scene preset, throughput, bfloat16", SCENE, 512, "bfloat16", 2.5, 3.5),
    "scene-fp32": Case("scene preset, throughput, float32", SCENE, 512, "float32", 1.8, 2.2),
    "scene-int8": Case("scene preset, throughput, int8", SCENE, 512, "int8", 8, 14, allowed=7e-2),
    "scene-latency": Case("scene preset, one window, bfloat16", SCENE, type="bfloat16", must=2, aim=2.5, **LATENCY),
    "scene-latency-int8": Case("scene preset, one window, int8", SCENE, type="int8", **LATENCY),
    "act-3000": Case("act preset, 3,000 shots, bfloat16", ACT, 3000, "bfloat16", 2.5, 4, turns=(10, 1)),
    "act-1200": Case("act preset, 1,200 shots, bfloat16", ACT, 1200, "bfloat16", 2.5, 4, turns=(10, 1)),
    "scene-avx2": Case("scene preset, AVX2 forced, float32", SCENE, 512, "float32", 1.5, 2, environment=AVX2),
}
MEMORY_OF = CASES["scene-bf16"].title


def run(only: tuple[str, ...] = ()) -> list[Row]:
    """The parts named; all without any."""
    parts: dict[str, Callable[[Files, list[Row]], list[Row]]] = {
        **{name: lambda files, _, case=case: compare(case, files) for name, case in CASES.items()},
        "memory": lambda files, rows: process.memory(files, [row for row in rows if row.case == MEMORY_OF]),
        "cold-start": lambda files, _: process.cold_start(files),
    }
    unknown = sorted(set(only) - set(parts))
    if unknown:
        raise SystemExit(f"--only: expected some of {', '.join(parts)}, got {', '.join(unknown)}")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        files = Files(Path(folder))
        rows += process.ceilings(files.folder)
        for name in only or parts:
            print(f"{name} ...", file=sys.stderr, flush=True)
            rows += parts[name](files, rows)
    return with_rates(rows)


def compare(case: Case, files: Files) -> list[Row]:
    """All subjects in turns; the first row is ours and says whether it met its numbers."""
    workers = []
    try:
        for subject in SUBJECTS:
            job = files.job(subject, case.config, case.shots, case.type)
            workers.append(Worker(subject, job, case.environment))
            if not workers[-1].problem:
                workers[-1].search(case.batches, case.modes)
        seconds: dict[str, list[float]] = {worker.subject: [] for worker in workers}
        turns, runs = case.turns
        for _ in range(turns):
            for worker in workers:
                if not worker.problem:
                    seconds[worker.subject] += worker.seconds(runs)
        rows = [_row(case, files, worker, seconds[worker.subject]) for worker in workers]
    finally:
        for worker in workers:
            worker.close()
    return judged(rows, case.must, case.aim, allowed=case.allowed)


def _row(case: Case, files: Files, worker: Worker, seconds: list[float]) -> Row:
    path = files.folder / "logits.npy"
    if not worker.problem:
        worker.ask(do="logits", path=str(path))
    if worker.problem:
        return unsupported(case.title, worker.subject, case.unit, worker.problem)
    got, exact = np.load(path), files.exact(case.config, case.shots)
    whole = min(len(got), len(exact))
    facts = {
        "type": case.type,
        "shots": case.shots,
        **({} if worker.subject == OURS else worker.best),
        **worker.facts,
        "logits": exact[:whole].size,
        "error": error(got[:whole], exact[:whole]),
        "max_abs": float(np.max(np.abs(got[:whole] - exact[:whole]))),
    }
    if worker.searched:
        facts["by_batch"] = worker.searched
    if case.environment and worker.subject in UNLIMITED:
        facts["not_counted"] = UNLIMITED[worker.subject]
    items = [worker.items / value if case.unit == "windows/s" else value / worker.items * 1e3 for value in seconds]
    return row_of(case.title, worker.subject, case.unit, items, **facts)


def with_rates(rows: Iterable[Row]) -> list[Row]:
    """The same rows; throughput with GFLOP/s, act with exponentials/s, each with its share of the machine's bound."""
    rows = list(rows)
    ceilings = {row.subject: row.p50 for row in rows if row.case == process.CEILINGS}
    return [replace(row, facts={**row.facts, **_rates(row, ceilings)}) for row in rows]


def _rates(row: Row, ceilings: Mapping[str, float]) -> dict[str, float]:
    ours = row.subject == OURS
    if row.unit == "windows/s" and row.repeats:
        rate = row.p50 * WINDOW_GFLOP[not ours]
        kind = row.facts["type"] + ("-avx2" if row.facts.get("target") == "avx2" else "")
        peak = max((value for name, value in ceilings.items() if name in (kind, f"{kind}-amx")), default=None)
        return {"gflop_per_s": round(rate, 1)} | ({"of_ceiling": round(rate / peak, 3)} if peak else {})
    if row.case.startswith("act") and row.repeats:
        shots, modalities, tokens = row.facts["shots"], len(ACT.modalities), ACT.num_bottleneck
        queries = shots if ours else shots + modalities * tokens  # the last layer's bottleneck rows are not needed
        pairs = (shots + tokens) ** 2 + queries * (shots + modalities * tokens)
        rate = pairs * modalities * ACT.num_heads / row.p50 / 1e6
        bound = ceilings.get("float32", 0) / FLOP_PER_CYCLE * 16 / EXP_CYCLES
        return {"gexp_per_s": round(rate, 2)} | ({"of_exp_bound": round(rate / bound, 3)} if bound else {})
    return {}

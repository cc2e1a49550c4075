"""The CPU engine against its peers, one process each, in turns: ``python -m benchmarks cpu [--only PART...]``.

A peer runs the model as written, in its fastest mode and batch size, on windows gathered beforehand. A row's ratio is
ours over the best peer's of the same case, its errors are against float64 on the same inputs. ``--no-amx`` refuses AMX
to all of them; ``--files`` keeps what peers compiled for another run.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.inputs import ACT, error
from benchmarks.peers import process
from benchmarks.peers.client import NEWEST, OURS, SUBJECTS, Worker
from benchmarks.peers.files import WEIGHTS_ONLY, Files
from benchmarks.peers.judge import judged, unsupported
from benchmarks.peers.models import ACT_PRESET, SCENE_PRESET, SHIPPED, Model
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
INT8_ERROR = 7e-2  # of max(1, |logit|), allowed to int8


@dataclass(frozen=True)
class Case:
    """One line of numbers. ``must`` and ``aim`` are ratios to the best peer, ``allowed`` an absolute error.

    A subject is a name, or a name and another type than the case's: "OpenVINO, int8". Where ``within`` names a subject
    and a ratio, its error times that ratio is allowed. ``strict`` counts no peer whose error is larger than allowed.
    """

    title: str
    model: Model
    shots: int
    type: str
    must: float | None = None
    aim: float | None = None
    allowed: float | None = None
    within: tuple[str, float] | None = None
    strict: bool = False
    against: str = ""  # the subject that the ratio is to; the best peer if empty
    subjects: tuple[str, ...] = SUBJECTS
    mode: str = ""  # "window": one window in a movie's middle; "segment": with its scenes
    environment: dict[str, str] = field(default_factory=dict)
    turns: tuple[int, int] = (5, 1)  # turns, runs in a turn

    @property
    def unit(self) -> str:
        if self.batches == (1,):
            return "ms"
        return "shots/s" if self.model.preset is None else "windows/s"

    @property
    def batches(self) -> tuple[int, ...]:
        return BATCHES if self.model.config.task == "scene" and self.mode != "window" else (1,)


SHORT = tuple(name for name in SUBJECTS if NEWEST not in name)
ENGINES = (OURS, "ONNX Runtime", "OpenVINO", "OpenVINO, bfloat16", "torch eager, bfloat16")  # quick to prepare


def _checked(model: Model, shots: int) -> Case:
    """Speed of int8 that is checked beside plain int8, from features to scenes."""
    subjects = (OURS, f"{OURS}, int8", f"{OURS}, float32")
    title = f"{model.name}, {shots:,} shots, boundaries of float32"
    ratios: dict[str, Any] = {"must": 0.8, "aim": 0.9, "against": f"{OURS}, int8"}
    return Case(title, model, shots, "int8_checked", subjects=subjects, mode="segment", turns=(10, 3), **ratios)


def _small(model: Model, shots: int) -> Case:
    """A shipped model in float32, and in our other types, beside ONNX Runtime on the graph that our passes leave."""
    subjects = (OURS, "ONNX Runtime on our graph", *(f"{OURS}, {kind}" for kind in ("bfloat16", "int8")))
    title = f"{model.name}, {shots:,} shots"
    return Case(title, model, shots, "float32", 2, 3, allowed=1e-4, subjects=subjects, turns=(10, 5))


CASES = {
    "scene-bf16": Case("scene preset, throughput, bfloat16", SCENE_PRESET, 512, "bfloat16", 2.5, 3.5),
    "scene-fp32": Case("scene preset, throughput, float32", SCENE_PRESET, 512, "float32", 2.2, 2.5),
    "scene-int8": Case(
        "scene preset, throughput, int8", SCENE_PRESET, 512, "int8", 4.5, 5.4, allowed=INT8_ERROR, subjects=SHORT
    ),
    "scene-latency": Case(
        *("scene preset, one window at bfloat16's error x 1.5", SCENE_PRESET, 512, "bfloat16", 2.5, 3),
        within=(OURS, 1.5),
        strict=True,
        mode="window",
        turns=(10, 5),
        subjects=(
            *(OURS, f"{OURS}, {WEIGHTS_ONLY}", f"{OURS}, int8_float32", f"{OURS}, float32"),
            *("torch.compile", "AOTInductor", "ONNX Runtime, float32", "OpenVINO", f"OpenVINO, {WEIGHTS_ONLY}"),
            *("OpenVINO, int8", "ExecuTorch, float32", "ExecuTorch, int8"),
        ),
    ),
    **{
        f"act-{shots}": Case(
            *(f"act preset, {shots:,} shots, bfloat16", ACT_PRESET, shots, "bfloat16", must, aim),
            turns=(10, 1),
            subjects=SHORT,
        )
        for shots, must, aim in ((3000, 2.2, 2.8), (1200, 2.0, 2.5))
    },
    **{
        f"act-{shots}-int8": Case(
            *(f"act preset, {shots:,} shots, int8 beside any type", ACT_PRESET, shots, "int8", must, aim),
            allowed=INT8_ERROR,
            strict=True,
            turns=(10, 1),
            subjects=ENGINES,
        )
        for shots, must, aim in ((3000, 2.2, 2.8), (1200, 2.0, 2.5))
    },
    "scene-avx2": Case(
        *("scene preset, AVX2 forced, float32", SCENE_PRESET, 512, "float32", 1.5, 2),
        environment=AVX2,
        subjects=SHORT,
    ),
    **{f"{model.name}-{shots}": _small(model, shots) for model in SHIPPED for shots in (1758, 300)},
    **{
        f"checked-{model.name}": _checked(model, shots)
        for model, shots in ((SCENE_PRESET, 512), *((model, 1758) for model in SHIPPED))
    },
}
MEMORY_OF = CASES["scene-bf16"].title


def run(only: tuple[str, ...] = (), folder: Path | None = None) -> Iterator[list[Row]]:
    """The rows of the parts named, part by part; all without any. ``folder`` keeps what the workers read."""
    parts: dict[str, Callable[[Files, list[Row]], list[Row]]] = {
        **{name: lambda files, _, case=case: compare(case, files) for name, case in CASES.items()},
        "memory": lambda files, rows: process.memory(files, [row for row in rows if row.case == MEMORY_OF]),
        "cold-start": lambda files, _: process.cold_start(files),
    }
    unknown = sorted(set(only) - set(parts))
    if unknown:
        raise SystemExit(f"--only: expected some of {', '.join(parts)}, got {', '.join(unknown)}")
    with tempfile.TemporaryDirectory() if folder is None else nullcontext(str(folder)) as place:
        files = Files(Path(place))
        ceilings = process.ceilings(files.folder)
        rows = list(ceilings)
        yield ceilings
        for name in only or parts:
            print(f"{name} ...", file=sys.stderr, flush=True)
            found = parts[name](files, rows)
            rows += found
            yield with_rates([*ceilings, *found])[len(ceilings) :]


def compare(case: Case, files: Files) -> list[Row]:
    """All subjects in turns; ours says whether it met its numbers."""
    workers: list[Worker] = []
    try:
        for label in case.subjects:
            subject, _, kind = label.partition(", ")
            job = files.job(subject.removesuffix(NEWEST), case.model, case.shots, kind or case.type)
            workers.append(Worker(subject, job, case.environment, label))
            if not workers[-1].problem:
                workers[-1].search(case.batches, _modes(case, subject))
        seconds: dict[str, list[float]] = {worker.subject: [] for worker in workers}
        turns, runs = case.turns
        for _ in range(turns):
            for worker in workers:
                if not worker.problem:
                    seconds[worker.subject] += worker.seconds(runs)
        found = {worker.subject: _logits(files, worker) for worker in workers}
        rows = [_row(case, files, worker, seconds[worker.subject], found) for worker in workers]
    finally:
        for worker in workers:
            worker.close()
    return _judged(case, rows)


def _modes(case: Case, subject: str) -> tuple[str, ...]:
    """What the subject is asked to search; its own modes if empty."""
    if subject == OURS:
        return (case.mode,)
    return ("latency",) if case.mode == "window" else ()


def _judged(case: Case, rows: list[Row]) -> list[Row]:
    """The rows, the fastest of ours that is exact enough judged."""
    allowed = case.allowed
    if case.within:
        subject, ratio = case.within
        allowed = next((ratio * row.facts["error"] for row in rows if row.subject == subject and row.repeats), None)
    if allowed and case.strict:
        rows = [
            row
            if row.facts.get("error", 0) <= allowed or row.subject.startswith(OURS)
            else replace(row, facts={**row.facts, "not_counted": "its error is larger than what is allowed here"})
            for row in rows
        ]
    own = OURS
    if case.within and allowed:
        exact = [row for row in rows if row.subject.startswith(OURS) and row.repeats and row.facts["error"] <= allowed]
        own = min(exact, key=lambda row: row.p50).subject if exact else OURS
    return judged(rows, case.must, case.aim, allowed=allowed, against=case.against, own=own)


def _logits(files: Files, worker: Worker) -> np.ndarray | None:
    """What a worker computed, for its error; None where it cannot run."""
    path = files.folder / "logits.npy"
    if not worker.problem:
        worker.facts |= worker.ask(do="logits", path=str(path)).get("facts", {})
    return None if worker.problem else np.load(path)


def _row(case: Case, files: Files, worker: Worker, seconds: list[float], found: Mapping[str, np.ndarray | None]) -> Row:
    got = found[worker.subject]
    if got is None:
        return unsupported(case.title, worker.subject, case.unit, worker.problem)
    kind = worker.subject.partition(", ")[2] or case.type
    facts = {"type": kind, "shots": case.shots, **({} if worker.kind == OURS else worker.best), **worker.facts}
    if case.mode == "segment":
        expected = found[f"{OURS}, float32"]
        facts |= {"scenes": int(got.sum())} | (
            {} if expected is None else {"unlike_float32": int((got != expected).sum())}
        )
    else:
        exact = files.exact(case.model, case.shots)
        whole = min(len(got), len(exact))
        facts |= {"logits": exact[:whole].size, "error": error(got[:whole], exact[:whole])}
        facts["max_abs"] = float(np.max(np.abs(got[:whole] - exact[:whole])))
    if worker.searched:
        facts["by_batch"] = worker.searched
    if case.environment and worker.kind in UNLIMITED:
        facts["not_counted"] = UNLIMITED[worker.kind]
    items = [worker.items / value if case.unit.endswith("/s") else value / worker.items * 1e3 for value in seconds]
    return row_of(case.title, worker.subject, case.unit, items, **facts)


def with_rates(rows: Iterable[Row]) -> list[Row]:
    """The same rows; throughput with GFLOP/s, act with exponentials/s, each with its share of the machine's bound."""
    rows = list(rows)
    ceilings = {row.subject: row.p50 for row in rows if row.case == process.CEILINGS}
    return [replace(row, facts={**row.facts, **_rates(row, ceilings)}) for row in rows]


def _rates(row: Row, ceilings: Mapping[str, float]) -> dict[str, float]:
    ours = row.subject.startswith(OURS)
    if row.case.startswith("scene preset") and row.unit == "windows/s" and row.repeats:
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

"""Another checkout against this one, in turns: ``python -m benchmarks revisions --only CHECKOUT``.

The other checkout is built in place. Each turn runs a fresh process of either; a row is this one's time over the
other's in the same turn, so that a busy moment of the machine hits both.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.inputs import ACT, SCENE, random_checkpoint, random_features
from benchmarks.rows import ROOT, Row, row_of
from megaseg import save_checkpoint

TURNS = 11
KINDS = ("scene-float32", "scene-bfloat16", "scene-int8", "act-float32", "act-bfloat16")
SHOTS = {"scene": 64, "act": 800}
CHILD = """
import json, sys, time
start = time.perf_counter()
import megaseg
found = {"import": time.perf_counter() - start}
import numpy as np
folder, kinds = sys.argv[1], sys.argv[2:]

def median(call, count):
    call()
    seconds = []
    for _ in range(count):
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return sorted(seconds)[count // 2]

def stream(engine, movie):
    live = engine.stream()
    for shot in range(32):
        live.push({name: rows[shot : shot + 1] for name, rows in movie.items()})
    live.close()

for kind in kinds:
    task = kind.split("-")[0]
    movie = dict(np.load(f"{folder}/{task}.npz"))
    one = {name: rows[:1] for name, rows in movie.items()}
    short = [{name: rows[:60] for name, rows in movie.items()}] * 10
    begin = time.perf_counter()
    engine = megaseg.Engine.from_checkpoint(f"{folder}/{kind}.mseg", num_threads=2)
    engine.segment(one)
    found[f"{kind}, load and first segment"] = time.perf_counter() - begin
    found[f"{kind}, {len(next(iter(movie.values())))} shots"] = median(lambda: engine.logits(movie), 5)
    found[f"{kind}, 1 shot"] = median(lambda: engine.logits(one), 41)
    if task == "scene":
        found[f"{kind}, stream of 32 shots"] = median(lambda: stream(engine, movie), 3)
    else:
        found[f"{kind}, 10 movies of 60 shots"] = median(lambda: engine.segment_many(short), 5)
print(json.dumps(found))
"""


def run(only: tuple[str, ...]) -> list[Row]:
    if len(only) != 1 or not (Path(only[0]) / "python" / "megaseg").is_dir():
        raise SystemExit(f"revisions: expected --only with one checkout of megaseg, got {' '.join(only) or 'none'}")
    sides = {"this": ROOT, "other": Path(only[0]).resolve()}
    with tempfile.TemporaryDirectory() as folder:
        _prepare(Path(folder), sides)
        turns = []
        for turn in range(TURNS):
            order = sorted(sides, reverse=bool(turn % 2))
            turns.append({side: _measured(sides[side], Path(folder) / side) for side in order})
    rows = []
    for case in turns[0]["this"]:
        ratios = [turn["this"][case] / turn["other"][case] for turn in turns]
        seconds = float(np.median([turn["this"][case] for turn in turns]))
        rows.append(row_of(f"this over the other: {case}", "native", "ratio", ratios, seconds=round(seconds, 6)))
    return rows


def _prepare(folder: Path, sides: dict[str, Path]) -> None:
    """Features, and the models as each side compiles them."""
    for task, config in (("scene", SCENE), ("act", ACT)):
        save_checkpoint(folder / f"{task}.safetensors", random_checkpoint(config))
        for side in sides:
            (folder / side).mkdir(exist_ok=True)
            np.savez(folder / side / f"{task}.npz", **random_features(config, SHOTS[task]))
    for side, root in sides.items():
        for kind in KINDS:
            task, compute_type = kind.split("-")
            command = ["-m", "megaseg", "compile", f"{folder}/{task}.safetensors", "-o", f"{folder}/{side}/{kind}.mseg"]
            _child(root, [*command, "--compute-type", compute_type])


def _measured(root: Path, folder: Path) -> dict[str, float]:
    found: dict[str, float] = json.loads(_child(root, ["-c", CHILD, str(folder), *KINDS]))
    return found


def _child(root: Path, arguments: list[str]) -> str:
    environment = {**os.environ, "PYTHONPATH": str(root / "python")}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=root).stdout

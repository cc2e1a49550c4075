"""The text encoder against its peers, one process each, in turns; and a screenplay from text to scenes and acts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.client import THREADS, Worker
from benchmarks.peers.encoders import ENCODERS, export
from benchmarks.peers.judge import judged, unsupported
from benchmarks.rows import ROOT, Row, row_of

TYPES = ("float32", "bfloat16", "int8")
TEXTS, CHECKED, TURNS = 256, 64, 5
BATCHES = (16, 32, 64)
MUST, AIM = 1.5, 2.0
# Tokens of the blocks of a real screenplay at 0, 10, ..., 100 %; texts of 5 to 60 words have from 7 to 80.
DECILES = (3, 7, 9, 11, 14, 18, 22, 27, 33, 41, 114)
BLOCKS = 1758
WORDS = ("the", "man", "walks", "into", "old", "house", "looks", "at", "her", "door", "night", "falls", "quiet", "car")


def run(only: tuple[str, ...] = ()) -> list[Row]:
    """``only`` names another checkout, built in place, whose way from text to scenes is measured beside this one's."""
    from megaseg.features.text.pretrained import encoder_folder

    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = export(encoder_folder(), folder)
        many, one = _texts(folder / "many.json", TEXTS), _texts(folder / "one.json", 1)
        exact, exact_one = (_exact(json.loads(path.read_text())[:CHECKED]) for path in (many, one))
        for kind in TYPES:
            job = {"folder": str(encoder_folder()), "type": kind, "threads": THREADS, "ctranslate2": files["ct2"]}
            job |= {"onnx": files["int8" if kind == "int8" else "fused"]}
            job |= {"openvino": files["plain-int8" if kind == "int8" else "plain"]}
            rows += _compare(
                f"text encoder, {TEXTS} sentences, {kind}", "sentences/s", {**job, "texts": str(many)}, exact
            )
            rows += _compare(f"text encoder, one sentence, {kind}", "ms", {**job, "texts": str(one)}, exact_one)
        rows += _screenplay(folder, only)
    return rows


def _texts(path: Path, count: int) -> Path:
    """Token ids of texts with a screenplay's lengths; one alone has the median's."""
    rng = np.random.default_rng(0)
    lengths = np.interp(rng.random(count) if count > 1 else [0.5], np.linspace(0, 1, len(DECILES)), DECILES)
    lengths = lengths.round().astype(int).clip(7, 80)
    texts = [[101, *rng.integers(1000, 30522, length - 2).tolist(), 102] for length in lengths]
    path.write_text(json.dumps(texts))
    return path


def _exact(texts: list[list[int]]) -> np.ndarray:
    """Vectors in float64."""
    from megaseg.engine.backends.protocol import Excerpt
    from megaseg.features.text.encoder import Encoder

    backend = Encoder.from_checkpoint(backend="torch", compute_type="float64").backend
    rows = backend.run([Excerpt.whole([np.array(own, np.int32)[:, None]]) for own in texts], ("embedding",))
    return np.concatenate([vector for (vector,) in rows])


def _compare(case: str, unit: str, job: dict[str, Any], exact: np.ndarray) -> list[Row]:
    workers = [Worker(subject, job, {}) for subject in ENCODERS]
    try:
        seconds: dict[str, list[float]] = {}
        for worker in workers:
            if not worker.problem:
                worker.search(BATCHES if unit != "ms" else (1,), () if unit != "ms" else ("latency",))
            seconds[worker.subject] = []
        for _ in range(TURNS):
            for worker in workers:
                if not worker.problem:
                    seconds[worker.subject] += worker.seconds(1 if unit != "ms" else 10)
        rows = [_row(case, unit, worker, seconds[worker.subject], exact) for worker in workers]
    finally:
        for worker in workers:
            worker.close()
    return judged(rows, MUST, AIM)


def _row(case: str, unit: str, worker: Worker, seconds: list[float], exact: np.ndarray) -> Row:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "vectors.npy"
        if not worker.problem:
            worker.ask(do="logits", path=str(path))
        if worker.problem:
            return unsupported(case, worker.subject, unit, worker.problem)
        got = np.load(path)[: len(exact)]
    facts = {**worker.facts, **worker.best, "max_abs": float(np.abs(got - exact).max())}
    values = [worker.items / own if unit != "ms" else own * 1e3 for own in seconds]
    return row_of(case, worker.subject, unit, values, **facts)


_CHILD = """
import resource, sys, time
start = time.perf_counter()
from megaseg.pipelines import Pipeline
names = ["screenplay-scenes", "screenplay-acts"]
pipeline = Pipeline.from_checkpoints(names, compute_type=sys.argv[2], overflow="pool")
result = pipeline.segment(sys.argv[1])
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def _screenplay(folder: Path, others: tuple[str, ...], repeats: int = 3) -> list[Row]:
    """A script of made-up words, whose blocks have a real one's kinds and lengths, in fresh processes, in turns."""
    path = folder / "script.fountain"
    path.write_text(_script())
    case = f"screenplay of {BLOCKS:,} blocks, text to scenes and acts"
    subjects = {f"megaseg, {kind}": (kind, ROOT) for kind in ("auto", "float32", "bfloat16", "int8")}
    subjects |= {f"checkout {Path(other).name}, auto": ("auto", Path(other)) for other in others}
    runs: dict[str, list[list[float]]] = {subject: [] for subject in subjects}
    for _ in range(repeats + 1):
        for subject, (kind, root) in subjects.items():
            own = {"MEGASEG_CACHE": str(folder / f"cache of {subject}"), "PYTHONPATH": str(root / "python")}
            command = [sys.executable, "-c", _CHILD, str(path), kind]
            done = subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, check=False)
            if done.returncode:
                return [unsupported(case, subject, "s", done.stderr.strip().splitlines()[-1])]
            runs[subject].append([float(word) for word in done.stdout.split()])
    rows = []
    for subject, own in runs.items():
        facts = {"first_s": round(own[0][0], 2), "peak_mib": round(max(peak for _, peak in own[1:]))}
        rows.append(row_of(case, subject, "s", [seconds for seconds, _ in own[1:]], **facts))
    return rows


def _script() -> str:
    """Fountain text: headings, actions and speeches of words that the encoder knows."""
    rng = np.random.default_rng(1)
    lengths = (np.interp(rng.random(BLOCKS), np.linspace(0, 1, len(DECILES)), DECILES) - 2).round().astype(int).clip(1)
    parts = []
    for block, length in enumerate(lengths):
        text = " ".join(rng.choice(WORDS, length)).capitalize() + "."
        if block % 13 == 0:
            parts.append(f"INT. PLACE {block} - DAY")
        parts.append(text if rng.random() < 0.54 else f"{'ANNA' if rng.random() < 0.5 else 'BERT'}\n{text}")
    return "\n\n".join(parts) + "\n"

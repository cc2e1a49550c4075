"""What the exact rewrites gain in ONNX Runtime on the CPU: graphs rewritten and as written, in turns."""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.inputs import ACT, SCENE, ModelConfig, error, features_of, random_checkpoint
from benchmarks.rows import Row, alternate, row_of, version
from megaseg.engine.backends.onnx.backend import OnnxBackend
from megaseg.engine.backends.protocol import logits_of
from megaseg.engine.backends.torch.backend import TorchBackend
from megaseg.engine.graph.passes import PASSES

THREADS = 2
REPEATS = 7
CHECKED = 64  # shots that are held to float64, which takes its time
SUBJECTS = {"rewritten": tuple(PASSES), "as written": ()}


def run() -> list[Row]:
    return [*compare(SCENE, 256), *compare(ACT, 3000)]


def compare(config: ModelConfig, shots: int) -> list[Row]:
    checkpoint, features = random_checkpoint(config), features_of(config, shots)
    checked = [array[:CHECKED] for array in features]
    exact = logits_of(TorchBackend(checkpoint, compute_type="float64", passes=()), [checked])[0]
    backends = {
        name: OnnxBackend.from_checkpoint(checkpoint, num_threads=THREADS, passes=passes)
        for name, passes in SUBJECTS.items()
    }
    for backend in backends.values():
        logits_of(backend, [features])
    seconds = alternate({name: partial(logits_of, backend, [features]) for name, backend in backends.items()}, REPEATS)
    title = f"ONNX Runtime, {config.task} preset, float32, {shots:,} shots, {THREADS} threads"
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    rows = []
    for name, values in seconds.items():
        facts = {"error": error(logits_of(backends[name], [checked])[0], exact), "shots_per_s": shots / medians[name]}
        if name == "rewritten":
            facts["speedup"] = medians["as written"] / medians[name]
        rows.append(row_of(title, name, "ms", [1e3 * x for x in values], onnxruntime=version("onnxruntime"), **facts))
    return rows

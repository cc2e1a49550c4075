"""Windows of the preset long-range against its peers, one process each, in turns: all outputs, and embeddings alone."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.client import THREADS, Worker
from benchmarks.peers.judge import judged, unsupported
from benchmarks.peers.long_range import WINDOW_SUBJECTS, export
from benchmarks.rows import Row, row_of
from megaseg.engine.backends.protocol import Excerpt
from megaseg.engine.backends.torch.backend import TorchBackend
from megaseg.engine.model.checkpoint import Checkpoint, save_checkpoint
from megaseg.engine.model.family import structure_of

TYPES = ("float32", "bfloat16", "int8")
WINDOWS, CHECKED, TURNS = 64, 4, 5
BATCHES = (16, 64)
MUST, AIM = 1.5, 2.0


def run() -> Iterator[list[Row]]:
    """The rows of each case when it is done."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint = _checkpoint()
        save_checkpoint(folder / "model.safetensors", checkpoint)
        arrays = _windows(checkpoint)
        np.savez(folder / "windows.npz", **arrays)
        exact = _exact(checkpoint, arrays)
        everything = [output.name for output in structure_of(checkpoint.config).outputs]
        for what, outputs in (("embeddings", ["embedding"]), ("all outputs", everything)):
            for kind in TYPES:
                job: dict[str, Any] = {"model": str(folder / "model.safetensors"), "outputs": outputs, "type": kind}
                job |= {"windows": str(folder / "windows.npz"), "threads": THREADS, "onnx": ""}
                if kind != "bfloat16":
                    job["onnx"] = export(job, folder / f"{what[:3]}.onnx")
                yield _compare(f"long-range preset, {what}, {kind}", job, exact)


def _checkpoint() -> Checkpoint:
    """The preset with random weights, whose rows neither vanish nor grow from layer to layer."""
    from megaseg.models import PRESETS

    config, rng = PRESETS["long-range"], np.random.default_rng(0)
    tensors = {}
    for name, shape in config.tensor_shapes().items():
        one = float(len(shape) == 1 and "norm" in name and name.endswith("weight"))
        scale = shape[-1] ** -0.5 if len(shape) > 1 else 0.02
        tensors[name] = (one + scale * rng.standard_normal(shape)).astype(np.float32)
    return Checkpoint(config, tensors)


def _windows(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """Windows of k shots by input (windows, rows, D), with as many sentences as shots."""
    rng, length = np.random.default_rng(1), checkpoint.config.max_length
    arrays = {}
    for modality in structure_of(checkpoint.config).inputs:
        if modality.type == "int32":
            arrays[modality.name] = np.sort(rng.integers(0, length, (WINDOWS, length, 1)), axis=1).astype(np.int32)
        else:
            arrays[modality.name] = rng.standard_normal((WINDOWS, length, modality.feature_size)).astype(np.float32)
    return arrays


def _exact(checkpoint: Checkpoint, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Embeddings of the first windows in float64."""
    backend = TorchBackend(checkpoint, compute_type="float64", passes=())
    excerpts = [Excerpt.whole(list(own)) for own in zip(*(x[:CHECKED] for x in arrays.values()), strict=True)]
    return np.stack([rows for (rows,) in backend.run(excerpts, ("embedding",))])


def _compare(case: str, job: dict[str, Any], exact: np.ndarray) -> list[Row]:
    workers = [Worker(subject, job, {}) for subject in WINDOW_SUBJECTS]
    try:
        seconds: dict[str, list[float]] = {}
        for worker in workers:
            if not worker.problem:
                worker.search(BATCHES if worker.subject != "torch.compile" else BATCHES[1:])
            seconds[worker.subject] = []
        for _ in range(TURNS):
            for worker in workers:
                if not worker.problem:
                    seconds[worker.subject] += worker.seconds(1)
        rows = [_row(case, worker, seconds[worker.subject], exact) for worker in workers]
    finally:
        for worker in workers:
            worker.close()
    return judged(rows, MUST, AIM)


def _row(case: str, worker: Worker, seconds: list[float], exact: np.ndarray) -> Row:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "embeddings.npy"
        if not worker.problem:
            worker.ask(do="logits", path=str(path))
        if worker.problem:
            return unsupported(case, worker.subject, "windows/s", worker.problem)
        got = np.load(path)[: len(exact)]
    facts = {**worker.facts, **worker.best, "max_abs": float(np.abs(got - exact).max())}
    return row_of(case, worker.subject, "windows/s", [worker.items / own for own in seconds], **facts)

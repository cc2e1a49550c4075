"""The engine on a GPU against torch on the model as written: ``benchmarks/gpu.sh`` runs it after all checks.

``resident`` times the device alone, features in its memory, as the peers have theirs; ``whole calls`` start and end in
NumPy arrays of the host. Errors are against float64 on the same device.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from benchmarks.device import clock
from benchmarks.device.peers import Peer
from benchmarks.device.sizes import GPU, Sizes
from benchmarks.device.tune import estep_arguments
from benchmarks.inputs import Checkpoint, ModelConfig, error, features_of, random_checkpoint
from benchmarks.peers.client import OURS
from benchmarks.peers.judge import judged, unsupported
from benchmarks.rows import Row, row_of
from megaseg.engine.backends.cuda.backend import CudaBackend, Device
from megaseg.engine.backends.protocol import logits_of
from megaseg.engine.backends.torch.backend import TorchBackend
from megaseg.engine.engine import Engine

TYPES = ("bfloat16", "float16")
COMPILED = ("bfloat16",)  # of the peers that take minutes to compile
MODES = ("reduce-overhead", "max-autotune")  # of torch.compile: CUDA graphs; and its own products where they are faster
# What the issue asks: times the compiled peer, and windows or movies a second.
MUST = {"scene": (3.0, 200_000), "act": (2.0, 1_500)}
ESTEP_SHARE = 0.8  # of the copy's bytes per second
GFLOP = {"scene": (1.475, 2.711), "act": (76.8, 83.4)}  # a window, a movie of 3,000 shots: rewritten, as written
ERROR_RATIO = 2  # of torch's error at the same type that ours may have


def environment() -> dict[str, Any]:
    return clock.facts()


def run(sizes: Sizes = GPU, device: Device | None = None) -> Iterator[list[Row]]:
    """Rows part by part, so that what was measured is kept when a later part fails or the time is up."""
    if device is None and not torch.cuda.is_available():
        raise SystemExit("case gpu: torch sees no CUDA device")
    place = torch.device("cuda" if device is None else device.torch_device)
    ceilings = clock.ceilings(place, sizes.side, sizes.megabytes)
    yield ceilings
    peak = {row.subject: row.p50 for row in ceilings}
    yield estep(sizes, place, peak["copy"])
    parts = [Part(sizes, config, device, place, peak) for config in (sizes.scene, sizes.act)]
    for part in parts:
        yield from part.ours()
    for part in parts:
        yield from part.eager()
    for part in parts:
        yield part.others()
    for mode in MODES:
        for part in parts:
            yield from part.compiled(mode)


class Part:
    """Everything about one preset."""

    def __init__(
        self,
        sizes: Sizes,
        config: ModelConfig,
        device: Device | None,
        place: torch.device,
        peak: Mapping[str, float],
    ) -> None:
        self._sizes, self._config, self._device, self._place, self._peak = sizes, config, device, place, peak
        self._scene = config.task == "scene"
        self._checkpoint: Checkpoint = random_checkpoint(config)
        self._items = sizes.windows if self._scene else sizes.movies
        self._features = features_of(config, max(sizes.windows, sizes.checked) if self._scene else config.max_length)
        checked = [array[: sizes.checked] for array in self._features] if self._scene else self._features
        exact = TorchBackend(self._checkpoint, device=place.type, compute_type="float64", passes=(), batch=64)
        self._checked, self._exact = checked, logits_of(exact, [checked])[0]
        self._ours: dict[str, Row] = {}
        self._errors: dict[str, float] = {}
        self._compiled: dict[str, list[Row]] = {}

    def _title(self, dtype: str) -> str:
        size = f"{self._items} windows" if self._scene else f"{self._items} movies of {len(self._features[0]):,} shots"
        return f"{self._config.task} preset, {dtype}, resident, {size}"

    def _row(self, dtype: str, subject: str, times: list[float], as_written: bool, **facts: Any) -> Row:
        """Windows a second, or milliseconds a movie; with the FLOP/s that it stands for."""
        values = [1e3 * self._items / t if self._scene else t / self._items for t in times]
        unit = "windows/s" if self._scene else "ms"
        row = row_of(self._title(dtype), subject, unit, values, **facts)
        rate = row.p50 if self._scene else 1e3 / row.p50
        tflops = rate * GFLOP[self._config.task][as_written] / 1e3
        shares = {"tflop_per_s": round(tflops, 1), "of_ceiling": round(tflops / self._peak[f"product {dtype}"], 3)}
        return replace(row, facts={**row.facts, "per_s": round(rate, 1), **shares})

    def ours(self) -> Iterator[list[Row]]:
        for dtype in TYPES:
            backend = CudaBackend(self._checkpoint, compute_type=dtype, device=self._device)
            worst = error(logits_of(backend, [self._checked])[0], self._exact)
            movies = [self._features] if self._scene else [self._features] * self._items
            (replay,) = backend.resident([[array[: self._items] for array in movies[0]]] if self._scene else movies)
            self._reset_memory()
            times = clock.milliseconds(replay)
            least = MUST[self._config.task][1]
            row = self._row(dtype, OURS, times, False, error=worst, logits=self._exact.size, **self._memory())
            met = "met" if row.facts["per_s"] >= least else "missed"
            self._ours[dtype] = replace(row, facts={**row.facts, "must_per_s": least, "rate": met})
            yield [self._ours[dtype], self._whole_calls(dtype, f"{OURS}, whole calls", backend)]

    def _whole_calls(self, dtype: str, subject: str, backend: Any) -> Row:
        """From NumPy arrays to NumPy arrays: one long movie (scene), or the movies of a batch four times (act)."""
        shots = self._sizes.shots if self._scene else self._config.max_length
        movies = [features_of(self._config, shots)] * (1 if self._scene else 4 * self._items)
        times = clock.wall_milliseconds(lambda: logits_of(backend, movies), 5)
        count = shots if self._scene else len(movies)
        rates = [1e3 * count / t for t in times]
        title = f"{self._config.task} preset, {dtype}, whole calls"
        return row_of(title, subject, "windows/s" if self._scene else "movies/s", rates, shots=shots)

    def eager(self) -> Iterator[list[Row]]:
        for dtype in TYPES:
            rows = self._peer(dtype, "torch eager")
            self._errors[dtype] = rows[0].facts["error"]
            yield rows

    def compiled(self, mode: str) -> Iterator[list[Row]]:
        """Rows of another compiled peer, and ours judged by the fastest peer so far."""
        for dtype in COMPILED:
            subject = f"torch.compile {mode}"
            try:
                rows = self._peer(dtype, subject, mode)
            except Exception as problem:  # noqa: BLE001  (a peer that fails is a row, and the rest goes on)
                text = " ".join(str(problem).split())[:160]
                rows = [unsupported(self._title(dtype), subject, "windows/s", text)]
            peers = self._compiled.setdefault(dtype, [])
            peers += rows
            must = MUST[self._config.task][0]
            limit = ERROR_RATIO * self._errors[dtype]
            yield judged([self._ours[dtype], *peers], must, must, allowed=limit)

    def _peer(self, dtype: str, subject: str, mode: str = "") -> list[Row]:
        print(f"{subject} {dtype} ...", file=sys.stderr, flush=True)
        peer = Peer(self._checkpoint, getattr(torch, dtype), self._place, mode)
        inputs = peer.inputs(self._features, self._items)
        count = len(self._exact) if not self._scene else min(len(self._exact), self._items)
        # Windows at the end of the checked shots see other neighbours in the longer movie: they are left out.
        whole = count - self._config.max_length // 2 if self._scene else count
        worst = error(peer.logits(inputs)[:whole], self._exact[:whole])
        self._reset_memory()
        times = clock.milliseconds(lambda: peer.run(inputs))
        return [self._row(dtype, subject, times, True, error=worst, **self._memory())]

    def others(self) -> list[Row]:
        """ONNX Runtime and TensorRT as backends, float16, whole calls: of the rewritten graph, and of it as written."""
        rows = []
        for name in ("onnx", "tensorrt"):
            for passes in (True, False):
                subject = f"backend {name}, {'rewritten' if passes else 'as written'}"
                options: dict[str, Any] = {"device": "cuda", "compute_type": "float16", "passes": passes}
                try:
                    engine = Engine.from_checkpoint(self._checkpoint, backend=name, **options)
                    rows.append(self._whole_calls("float16", subject, engine.backend))
                except Exception as problem:  # noqa: BLE001  (as above)
                    text = " ".join(str(problem).split())[:160]
                    rows.append(unsupported(f"{self._config.task} preset, float16, whole calls", subject, "ms", text))
        return rows

    def _reset_memory(self) -> None:
        if self._place.type == "cuda":
            torch.cuda.reset_peak_memory_stats()

    def _memory(self) -> dict[str, float]:
        """MiB that tensors take at their peak since the last reset, weights included."""
        return {"memory_mib": round(torch.cuda.max_memory_allocated() / 2**20, 1)} if self._place.type == "cuda" else {}


def estep(sizes: Sizes, place: torch.device, copy: float) -> list[Row]:
    """The banded E-step of a batch that fills the device: bytes that must be read over time, beside a copy's."""
    from megaseg.kernels import cuda
    from megaseg.kernels.triton.banded_estep import banded_estep

    arguments = estep_arguments(sizes, place, torch.bfloat16)
    shots, sentences, total = arguments[0], arguments[1], arguments[8]
    title = f"E-step, {sizes.estep_movies} movies of {sizes.act.max_length:,} shots and 60 sentences, bfloat16"
    must = shots.nbytes + sentences.nbytes + total
    implementations: dict[str, Callable[..., Any]] = {"triton": banded_estep, "cuda": cuda.banded_estep}
    rows = []
    for name, implementation in implementations.items():
        try:
            times = clock.kernel_milliseconds(lambda f=implementation: f(*arguments))  # type: ignore[misc]
        except Exception as problem:  # noqa: BLE001  (not built, or not for this device: a row)
            rows.append(unsupported(title, f"{OURS} {name}", "ms", " ".join(str(problem).split())[:160]))
            continue
        rate = must / np.median(times) / 1e6
        verdict = "met" if rate >= ESTEP_SHARE * copy else "missed"
        facts = {"gb_per_s": round(rate, 1), "of_copy": round(rate / copy, 3), "must": ESTEP_SHARE, "speed": verdict}
        rows.append(row_of(title, f"{OURS} {name}", "ms", times, **facts))
    return rows

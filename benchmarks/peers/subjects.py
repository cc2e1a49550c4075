"""What runs inside a worker process: each subject loads a model and computes the logits of ready-made inputs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

import megaseg
from megaseg.engine.backends.protocol import Excerpt
from megaseg.engine.graph.sequences import windows
from megaseg.engine.model.checkpoint import load_checkpoint

CHECKED = "int8_checked"


class Unsupported(Exception):
    """This peer cannot run this compute type here; the message becomes the row."""


def compiled_model(model: Path, compute_type: str) -> Path:
    """Our compiled model beside the checkpoint, for the target of this process; written once, by the command line."""
    path = model.with_suffix(f".{compute_type}{os.environ.get('MEGASEG_ISA', '')}.mseg")
    if not path.exists():
        command = [sys.executable, "-m", "megaseg", "compile", str(model), "--compute-type", compute_type]
        done = subprocess.run([*command, "-o", str(path)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unsupported(" ".join(done.stderr.split()))
    return path


class Peer:
    """``run`` computes every logit of its inputs; ``items`` of them (windows, movies) are done in one run."""

    def __init__(self, job: dict[str, Any]) -> None:
        if "problem" in job:
            raise Unsupported(job["problem"])
        self.job, self.checkpoint, self.facts = job, load_checkpoint(job["model"]), {}
        with np.load(job["features"]) as features:
            self.features = dict(features)
        self.shots = len(next(iter(self.features.values())))

    def prepare(self, batch: int, mode: str) -> None:
        self.items, self.batch, self.mode = batch, batch, mode
        self.gather(0)

    def gather(self, start: int) -> None:
        """Inputs (batch, L, D_m): windows of the shots from ``start``; or (1, shots, D_m), the movie itself.

        Done before the clock starts, which favours the peers: ours gathers while it runs.
        """
        config, rows = self.checkpoint.config, np.arange(self.shots)[None]
        if config.task == "scene":
            rows = windows(start, start + self.batch, config.max_length, self.shots)
        self.inputs = {name: array[rows] for name, array in self.features.items()}

    def run(self) -> np.ndarray:
        """Logits (batch, n, N_c)."""
        raise AssertionError(f"{type(self).__name__} does not say how it runs")

    def logits(self) -> np.ndarray:
        """Logits of shots 0, 1, ..., ``checked`` - 1 (centre rows of a scene model) in batches as they were timed."""
        config = self.checkpoint.config
        if config.task != "scene":
            return np.asarray(self.run(), dtype=np.float32)[0]
        parts = []
        for start in range(0, self.job["checked"], self.batch):
            self.gather(start)
            parts.append(np.array(self.run(), dtype=np.float32)[:, config.max_length // 2])
        return np.concatenate(parts)


class Ours(Peer):
    """A whole movie through ``Engine``, from a compiled model, which a process of its own writes first.

    ``mode`` "window" runs one window in the middle of a movie, as a stream does, "segment" ends with its scenes.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        super().__init__(job)
        options = {"num_threads": job["threads"]}
        if job["type"] == CHECKED:  # several models, each compiled into the cache
            self.engine = megaseg.Engine.from_checkpoint(job["model"], compute_type=CHECKED, **options)
        else:
            self.engine = megaseg.Engine.from_checkpoint(compiled_model(Path(job["model"]), job["type"]), **options)
        self.facts = {key: self.engine.describe()[key] for key in ("target", "compute_type")}

    def prepare(self, batch: int, mode: str) -> None:
        self.mode = mode
        self.items = self.shots if self.checkpoint.config.task == "scene" and mode != "window" else 1
        self.excerpt = self._window(self.shots // 2)

    def _window(self, shot: int) -> Excerpt:
        """The shots that one window sees, and its middle."""
        half = getattr(self.checkpoint.config, "max_length", 1) // 2
        begin, end = max(0, shot - half), min(self.shots, shot + half + 1)
        return Excerpt([array[begin:end] for array in self.features.values()], shot - begin, shot - begin + 1)

    def run(self) -> Any:
        if self.mode == "window":
            return self.engine.backend.run([self.excerpt])[0][0]
        if self.mode == "segment":
            return self.engine.segment(self.features)
        return self.engine.logits(self.features)

    def logits(self) -> np.ndarray:
        """As of any peer; in mode "segment" whether each shot begins a scene (shots, 1)."""
        if self.mode == "segment":
            first = np.zeros((self.shots, 1), np.float32)
            first[[scene.first_shot for scene in self.run().scenes]] = 1
            self.facts |= {key: own for key, own in self.engine.describe().items() if key == "checked"}
            return first
        if self.mode != "window":
            return self.run()
        rows = (self.engine.backend.run([self._window(shot)])[0][0] for shot in range(self.job["checked"]))
        return np.concatenate(list(rows))


class OnnxGraph(Ours):
    """ONNX Runtime on the graph that our exact passes leave: ``Engine`` with backend "onnx"."""

    def __init__(self, job: dict[str, Any]) -> None:
        import onnxruntime

        Peer.__init__(self, job)
        options = {"compute_type": job["type"], "num_threads": job["threads"]}
        self.engine = megaseg.Engine.from_checkpoint(job["model"], backend="onnx", **options)
        self.facts = {"version": onnxruntime.__version__}


class OnnxRuntime(Peer):
    def __init__(self, job: dict[str, Any]) -> None:
        import onnxruntime

        super().__init__(job)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = job["threads"], 4
        try:
            self.session = onnxruntime.InferenceSession(job["exported"], options, providers=["CPUExecutionProvider"])
        except Exception as problem:  # its own exception classes are not public
            raise Unsupported(str(problem).split("Failed to find")[-1].strip()[:160]) from problem

    def run(self) -> np.ndarray:
        return self.session.run(None, self.inputs)[0]


class OpenVino(Peer):
    """``mode`` is the performance hint: throughput keeps as many requests in flight as it asks for.

    int8 is NNCF's model, calibrated; weights in int8 alone are NNCF's as well. What such a model leaves in floating
    point runs in bfloat16 where that is fast here, else in float32.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        import openvino

        super().__init__(job)
        self.core = openvino.Core()
        self.model = self.core.read_model(job["exported"])

    def prepare(self, batch: int, mode: str) -> None:
        super().prepare(batch, mode)
        self.model.reshape({name: array.shape for name, array in self.inputs.items()})
        narrow = "BF16" in self.core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        kind = "bf16" if narrow and self.job["type"] != "float32" else "f32"
        hints = {"PERFORMANCE_HINT": mode.upper(), "INFERENCE_PRECISION_HINT": kind}
        hints["INFERENCE_NUM_THREADS"] = self.job["threads"]
        compiled = self.core.compile_model(self.model, "CPU", hints)
        used = str(compiled.get_property("INFERENCE_PRECISION_HINT")).lower()
        if self.job["type"] == "bfloat16" and "bf16" not in used and "bfloat16" not in used:
            raise Unsupported(f"asked for bf16, OpenVINO runs {used} here")
        count = 1 if mode == "latency" else compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self.requests = [compiled.create_infer_request() for _ in range(count)]
        self.items = batch * count
        self.facts = {"requests": count, "precision": used}

    def run(self) -> np.ndarray:
        if len(self.requests) == 1:
            return next(iter(self.requests[0].infer(self.inputs, share_inputs=True).values()))
        for request in self.requests:
            request.start_async(self.inputs, share_inputs=True)
        for request in self.requests:
            request.wait()
        return self.requests[0].get_output_tensor(0).data

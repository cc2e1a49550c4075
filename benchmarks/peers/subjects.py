"""What runs inside a worker process: each subject loads a model and computes the logits of ready-made inputs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from megaseg.engine.graph.sequences import windows
from megaseg.engine.model.checkpoint import load_checkpoint


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
    """A whole movie through ``Engine``, from a compiled model, which a process of its own writes first."""

    def __init__(self, job: dict[str, Any]) -> None:
        import megaseg

        super().__init__(job)
        compiled = compiled_model(Path(job["model"]), job["type"])
        self.engine = megaseg.Engine.from_checkpoint(compiled, num_threads=job["threads"])
        self.facts = {key: self.engine.describe()[key] for key in ("target", "compute_type")}

    def prepare(self, batch: int, mode: str) -> None:
        self.items = self.shots if self.checkpoint.config.task == "scene" else 1

    def run(self) -> np.ndarray:
        return self.engine.logits(self.features)

    logits = run


class Torch(Peer):
    """Eager, or compiled with frozen (prepacked, constant-folded) weights; weights from a file of the same type."""

    compiled = False

    def __init__(self, job: dict[str, Any]) -> None:
        import torch
        from safetensors.torch import load_file

        from megaseg.models import Mega

        super().__init__(job)
        torch.set_num_threads(job["threads"])
        self.torch, self.dtype = torch, torch.float32 if job["type"] == "int8" else getattr(torch, job["type"])
        with torch.device("meta"):
            self.model = Mega(self.checkpoint.config)
        path = Path(job["model"]).with_suffix(f".{job['type']}.safetensors")
        self.model.load_state_dict(load_file(path if path.exists() else job["model"]), assign=True)
        self.model.to(self.dtype).eval()
        if job["type"] == "int8":
            self._quantise()
        if self.compiled:
            torch._inductor.config.freezing = True
            torch.backends.mha.set_fastpath_enabled(False)  # opaque to the compiler
            self.model = torch.compile(self.model, dynamic=False)

    def _quantise(self) -> None:
        if self.compiled:
            raise Unsupported("dynamically quantised modules hold packed parameters that torch.compile cannot trace")
        self.torch.backends.mha.set_fastpath_enabled(False)  # it asks the packed weights for their device
        self.model = self.torch.ao.quantization.quantize_dynamic(
            self.model, {self.torch.nn.Linear}, dtype=self.torch.qint8
        )

    def gather(self, start: int) -> None:
        super().gather(start)
        self.tensors = {name: self.torch.from_numpy(array).to(self.dtype) for name, array in self.inputs.items()}

    def run(self) -> np.ndarray:
        with self.torch.no_grad() if self.compiled else self.torch.inference_mode():
            return self.model(self.tensors).float().numpy()


class Compiled(Torch):
    compiled = True


class OnnxRuntime(Peer):
    def __init__(self, job: dict[str, Any]) -> None:
        import onnxruntime

        super().__init__(job)
        _expect_onnx(job)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = job["threads"], 4
        try:
            self.session = onnxruntime.InferenceSession(job["onnx"], options, providers=["CPUExecutionProvider"])
        except Exception as problem:  # its own exception classes are not public
            raise Unsupported(str(problem).split("Failed to find")[-1].strip()[:160]) from problem

    def run(self) -> np.ndarray:
        return self.session.run(None, self.inputs)[0]


class OpenVino(Peer):
    """``mode`` is the performance hint: throughput keeps as many requests in flight as it asks for.

    int8 is ONNX Runtime's dynamically quantised file, which needs no data to calibrate on; its own quantiser (NNCF)
    does, and then measures other activations than these.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        super().__init__(job)
        import openvino

        _expect_onnx(job)
        self.core = openvino.Core()
        self.model = self.core.read_model(job["onnx"])

    def prepare(self, batch: int, mode: str) -> None:
        super().prepare(batch, mode)
        self.model.reshape({name: array.shape for name, array in self.inputs.items()})
        kind = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}[self.job["type"]]
        hints = {"PERFORMANCE_HINT": mode.upper(), "INFERENCE_PRECISION_HINT": kind}
        hints["INFERENCE_NUM_THREADS"] = self.job["threads"]
        compiled = self.core.compile_model(self.model, "CPU", hints)
        used = str(compiled.get_property("INFERENCE_PRECISION_HINT")).lower()
        if self.job["type"] == "bfloat16" and "bf16" not in used and "bfloat16" not in used:
            raise Unsupported(f"asked for bf16, OpenVINO runs {used} here")
        count = 1 if mode == "latency" else compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self.requests = [compiled.create_infer_request() for _ in range(count)]
        self.items = batch * count
        self.facts = {"requests": count}

    def run(self) -> np.ndarray:
        if len(self.requests) == 1:
            return next(iter(self.requests[0].infer(self.inputs, share_inputs=True).values()))
        for request in self.requests:
            request.start_async(self.inputs, share_inputs=True)
        for request in self.requests:
            request.wait()
        return self.requests[0].get_output_tensor(0).data


def _expect_onnx(job: dict[str, Any]) -> None:
    if not job["onnx"]:
        raise ImportError("onnxscript, onnxruntime", name="onnxscript, onnxruntime")


SUBJECTS: dict[str, type[Peer]] = {
    "megaseg": Ours,
    "torch eager": Torch,
    "torch.compile": Compiled,
    "ONNX Runtime": OnnxRuntime,
    "OpenVINO": OpenVino,
}

"""What runs inside a worker process: each subject loads a model and computes the logits of ready-made inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.inputs import features_of
from megaseg.engine.checkpoint import Checkpoint, load_checkpoint


class Unsupported(Exception):
    """This peer cannot run this compute type here; the message becomes the row."""


def windows(checkpoint: Checkpoint, shots: int, batch: int) -> dict[str, np.ndarray]:
    """Inputs (batch, L, D_m): the first windows of the movie, or (1, shots, D_m), the movie itself.

    Gathered before the clock starts, which favours the peers: ours gathers while it runs.
    """
    config = checkpoint.config
    features = features_of(config, shots)
    if config.task == "scene":
        centres, offsets = np.arange(batch), np.arange(config.max_length) - config.max_length // 2
        rows = (centres[:, None] + offsets).clip(0, shots - 1)
    else:
        rows = np.arange(shots)[None]
    return {m.name: array[rows] for m, array in zip(config.modalities, features, strict=True)}


class Peer:
    """``run`` computes every logit of the inputs; ``items`` of them (windows, movies) are done in one run."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job, self.checkpoint = job, load_checkpoint(job["model"])
        self.facts: dict[str, Any] = {}

    def prepare(self, batch: int) -> None:
        self.items = batch
        self.inputs = windows(self.checkpoint, self.job["shots"], batch)

    def run(self) -> np.ndarray:
        """Logits (batch, n, N_c)."""
        raise AssertionError

    def logits(self) -> np.ndarray:
        """Logits of shots 0, 1, ... (centre rows of a scene model), to be checked."""
        config, got = self.checkpoint.config, np.asarray(self.run(), dtype=np.float32)
        return got[:, config.max_length // 2] if config.task == "scene" else got[0]


class Ours(Peer):
    def __init__(self, job: dict[str, Any]) -> None:
        import megaseg

        super().__init__(job)
        try:
            self.engine = megaseg.Engine.from_checkpoint(
                job["model"], compute_type=job["type"], num_threads=job["threads"]
            )
        except megaseg.UnsupportedError as problem:
            raise Unsupported(str(problem)) from problem
        self.facts = {key: self.engine.describe()[key] for key in ("target", "compute_type")}

    def prepare(self, batch: int) -> None:
        config, shots = self.checkpoint.config, self.job["shots"]
        self.items = shots if config.task == "scene" else 1
        self.features = {m.name: array for m, array in zip(config.modalities, features_of(config, shots), strict=True)}

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

    def prepare(self, batch: int) -> None:
        super().prepare(batch)
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
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = job["threads"], 4
        try:
            self.session = onnxruntime.InferenceSession(job["onnx"], options, providers=["CPUExecutionProvider"])
        except Exception as problem:  # its own exception classes are not public
            raise Unsupported(str(problem).split("Failed to find")[-1].strip()[:160]) from problem

    def run(self) -> np.ndarray:
        return self.session.run(None, self.inputs)[0]


class OpenVino(Peer):
    """``mode`` is the performance hint: throughput keeps as many requests in flight as it asks for."""

    def __init__(self, job: dict[str, Any]) -> None:
        super().__init__(job)
        import openvino

        self.openvino, self.core = openvino, openvino.Core()
        self.model = self.core.read_model(job["onnx"])

    def prepare(self, batch: int) -> None:
        super().prepare(batch)
        self.model.reshape({name: array.shape for name, array in self.inputs.items()})
        kind = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}[self.job["type"]]
        hints = {"PERFORMANCE_HINT": self.job["mode"].upper(), "INFERENCE_PRECISION_HINT": kind}
        hints["INFERENCE_NUM_THREADS"] = self.job["threads"]
        compiled = self.core.compile_model(self.model, "CPU", hints)
        used = str(compiled.get_property("INFERENCE_PRECISION_HINT")).lower()
        if self.job["type"] == "bfloat16" and "bf16" not in used and "bfloat16" not in used:
            raise Unsupported(f"asked for bf16, OpenVINO runs {used} here")
        count = 1 if self.job["mode"] == "latency" else compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self.requests = [compiled.create_infer_request() for _ in range(count)]
        self.items = batch * count
        self.facts = {"mode": self.job["mode"], "requests": count}

    def run(self) -> np.ndarray:
        if len(self.requests) == 1:
            return next(iter(self.requests[0].infer(self.inputs, share_inputs=True).values()))
        for request in self.requests:
            request.start_async(self.inputs, share_inputs=True)
        for request in self.requests:
            request.wait()
        return self.requests[0].get_output_tensor(0).data


SUBJECTS: dict[str, type[Peer]] = {
    "megaseg": Ours,
    "torch eager": Torch,
    "torch.compile": Compiled,
    "ONNX Runtime": OnnxRuntime,
    "OpenVINO": OpenVino,
}

"""The preset long-range inside a worker process: ready-made windows of shots, by us and by others.

Everyone computes the same outputs: those of the whole model, or ``embedding`` alone, which needs no language.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.subjects import Unsupported
from megaseg.engine.model.checkpoint import load_checkpoint
from megaseg.engine.model.family import structure_of


class WindowPeer:
    """``run`` reads one batch of windows; ``logits`` is output ``embedding`` (windows, k, 3 C) of the first ones."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job, self.facts = job, {}
        self.checkpoint = load_checkpoint(job["model"])
        self.graph = structure_of(self.checkpoint.config)
        with np.load(job["windows"]) as arrays:
            self.arrays = [arrays[modality.name] for modality in self.graph.inputs]  # (windows, rows, D)
        self.outputs = tuple(job["outputs"])

    def prepare(self, batch: int, mode: str) -> None:
        self.items = batch


class Ours(WindowPeer):
    """All windows in one call."""

    def __init__(self, job: dict[str, Any]) -> None:
        from megaseg import Engine
        from megaseg.engine.backends.protocol import Excerpt

        super().__init__(job)
        options = {"compute_type": job["type"], "num_threads": job["threads"]}
        engine = Engine.from_checkpoint(self.checkpoint, **options)
        self.backend = engine.backend
        self.facts = {key: engine.describe()[key] for key in ("target", "compute_type")}
        self.windows = [Excerpt.whole(list(own)) for own in zip(*self.arrays, strict=True)]

    def prepare(self, batch: int, mode: str) -> None:
        self.items = len(self.windows)

    def run(self) -> Any:
        return self.backend.run(self.windows, self.outputs)

    def logits(self) -> np.ndarray:
        at = self.outputs.index("embedding")
        return np.stack([rows[at] for rows in self.run()])


class Torch(WindowPeer):
    """The twin, eager."""

    def __init__(self, job: dict[str, Any]) -> None:
        import torch

        super().__init__(job)
        torch.set_num_threads(job["threads"])
        torch.backends.mha.set_fastpath_enabled(False)  # opaque to the compiler
        self.torch = torch
        self.dtype = torch.float32 if job["type"] == "int8" else getattr(torch, job["type"])
        self.model = module(self.checkpoint, self.outputs, self.dtype)
        if job["type"] == "int8":
            self.model = torch.ao.quantization.quantize_dynamic(self.model, {torch.nn.Linear}, dtype=torch.qint8)

    def prepare(self, batch: int, mode: str) -> None:
        super().prepare(batch, mode)
        tensors = [self.torch.from_numpy(array[:batch]) for array in self.arrays]
        self.tensors = [x.to(self.dtype) if x.is_floating_point() else x for x in tensors]

    def run(self) -> Any:
        with self.torch.no_grad():  # torch.compile takes no inference tensors
            return self.model(*self.tensors)

    def logits(self) -> np.ndarray:
        return self.run()[self.outputs.index("embedding")].float().numpy()


class Compiled(Torch):
    """The same, compiled for its batch, weights frozen."""

    def __init__(self, job: dict[str, Any]) -> None:
        if job["type"] == "int8":
            raise Unsupported("dynamically quantised modules hold packed parameters that torch.compile cannot trace")
        super().__init__(job)
        self.torch._inductor.config.freezing = True
        self.model = self.torch.compile(self.model, dynamic=False)


class OnnxRuntime(WindowPeer):
    """The twin's own export, with ONNX Runtime's optimisations."""

    def __init__(self, job: dict[str, Any]) -> None:
        import onnxruntime

        super().__init__(job)
        if job["type"] == "bfloat16":
            raise Unsupported("no bfloat16 on its CPU provider")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = job["threads"], 4
        self.session = onnxruntime.InferenceSession(job["onnx"], options, providers=["CPUExecutionProvider"])

    def prepare(self, batch: int, mode: str) -> None:
        super().prepare(batch, mode)
        own = {modality.name: array[:batch] for modality, array in zip(self.graph.inputs, self.arrays, strict=True)}
        self.feeds = {needed.name: own[needed.name] for needed in self.session.get_inputs()}

    def run(self) -> Any:
        return self.session.run(None, self.feeds)

    def logits(self) -> np.ndarray:
        return self.run()[self.outputs.index("embedding")]


WINDOW_SUBJECTS: dict[str, Any] = {
    "megaseg": Ours,
    "torch eager": Torch,
    "torch.compile": Compiled,
    "ONNX Runtime": OnnxRuntime,
}


def module(checkpoint: Any, outputs: tuple[str, ...], dtype: Any) -> Any:
    """The twin as a module of arrays in the order of the model's inputs."""
    import torch

    from megaseg.models import LongRangeBatch, long_range

    config = checkpoint.config

    class Wanted(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = long_range.from_checkpoint(checkpoint, dtype)

        def forward(self, *arrays: torch.Tensor) -> list[torch.Tensor]:
            names = [modality.name for modality in config.modalities]
            features = dict(zip(names, arrays, strict=False))
            found = self.model(LongRangeBatch(features, token_shots=arrays[len(names)][..., 0]))
            return [found[name] for name in outputs]

    return Wanted().eval()


def export(job: dict[str, Any], path: Path) -> str:
    """The twin as an ONNX file of free numbers of windows; dynamically quantised where the job's type is int8."""
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic

    peer = WindowPeer(job)
    names = [modality.name for modality in peer.graph.inputs]
    tensors = tuple(torch.from_numpy(array[:2]) for array in peer.arrays)
    torch.backends.mha.set_fastpath_enabled(False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module(peer.checkpoint, peer.outputs, torch.float32),
            tensors,
            path,
            input_names=names,
            output_names=list(peer.outputs),
            dynamic_axes={name: {0: "windows"} for name in names},
            opset_version=17,
            dynamo=False,
        )
    if job["type"] != "int8":
        return str(path)
    quantised = path.with_suffix(".int8.onnx")
    quantize_dynamic(path, quantised, per_channel=True, weight_type=QuantType.QInt8)
    return str(quantised)

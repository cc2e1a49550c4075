"""torch inside a worker process: eager, compiled while it runs, compiled ahead of time; and its ExecuTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.subjects import Peer


class Torch(Peer):
    """Eager; weights from a file of the same type."""

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
        self.facts = {"version": torch.__version__}

    def _quantise(self) -> None:
        self.torch.backends.mha.set_fastpath_enabled(False)  # it asks the packed weights for their device
        self.model = self.torch.ao.quantization.quantize_dynamic(
            self.model, {self.torch.nn.Linear}, dtype=self.torch.qint8
        )

    def gather(self, start: int) -> None:
        super().gather(start)
        self.tensors = {name: self.torch.from_numpy(array).to(self.dtype) for name, array in self.inputs.items()}

    def run(self) -> np.ndarray:
        with self.torch.inference_mode():
            return self.model(self.tensors).float().numpy()


class Compiled(Torch):
    """torch.compile with frozen (prepacked, constant-folded) weights; int8 is torch's quantiser for x86, calibrated."""

    def __init__(self, job: dict[str, Any]) -> None:
        super().__init__(job)
        self.torch.backends.mha.set_fastpath_enabled(False)  # opaque to the compiler
        self.torch._inductor.config.freezing = True
        self.written = positional(self.model)

    def _quantise(self) -> None:
        """Where the sizes of a batch are known: ``prepare``."""

    def prepare(self, batch: int, mode: str) -> None:
        super().prepare(batch, mode)
        with self.torch.no_grad():
            self.compiled = self.compile(self._calibrated() if self.job["type"] == "int8" else self.written)

    def compile(self, model: Any) -> Any:
        return self.torch.compile(model, dynamic=False)

    def _calibrated(self) -> Any:
        """The model quantised by torch for x86, calibrated on the shots after those that are checked."""
        from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as own

        quantizer = own.X86InductorQuantizer()
        quantizer.set_global(own.get_default_x86_inductor_quantization_config())
        program = self.torch.export.export(self.written, tuple(self.tensors.values()))
        self.gather(self.shots // 2)
        model = converted(program, quantizer, [tuple(self.tensors.values())])
        self.gather(0)
        return model

    def run(self) -> np.ndarray:
        with self.torch.no_grad():
            return self.compiled(*self.tensors.values()).float().numpy()


class AheadOfTime(Compiled):
    """AOTInductor: exported, compiled to a package, which a process may load; with frozen weights as well."""

    def compile(self, model: Any) -> Any:
        name = f"{Path(self.job['model']).stem}-{self.shots}-{self.batch}-{self.job['type']}"
        kind = f"{self.torch.__version__}-{self.torch.cpu._init_amx()}"
        path = Path(self.job["folder"]) / f"{name}-{kind}.pt2"
        if not path.exists():
            program = self.torch.export.export(model, tuple(self.tensors.values()))
            self.torch._inductor.aoti_compile_and_package(program, package_path=str(path))
        return self.torch._inductor.aoti_load_package(str(path))


class ExecuTorch(Peer):
    """A program of one window, its XNNPACK on as many threads."""

    def __init__(self, job: dict[str, Any]) -> None:
        super().__init__(job)
        import torch
        from executorch.extension.pybindings import portable_lib
        from executorch.runtime import Runtime

        portable_lib._unsafe_reset_threadpool(job["threads"])
        self.torch = torch
        self.method = Runtime.get().load_program(job["exported"]).load_method("forward")

    def gather(self, start: int) -> None:
        super().gather(start)
        self.tensors = [self.torch.from_numpy(array) for array in self.inputs.values()]

    def run(self) -> np.ndarray:
        return self.method.execute(self.tensors)[0].numpy()


def positional(model: Any) -> Any:
    """A module that takes the modalities one by one; made here so that this file imports without torch."""
    import torch

    class Positional(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *features: Any) -> Any:
            return self.model(dict(zip(self.model.modalities, features, strict=True)))

    return Positional().eval()


def converted(program: Any, quantizer: Any, batches: list[tuple[Any, ...]]) -> Any:
    """torch's post-training quantisation of an exported program, calibrated on ``batches``."""
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    prepared = prepare_pt2e(program.module(), quantizer)
    for batch in batches:
        prepared(*batch)
    return convert_pt2e(prepared)

"""From a checkpoint or a compiled model to the backend that runs it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from megaseg.engine.backends.native.artefact import is_artefact
from megaseg.engine.backends.onnx.file import is_onnx
from megaseg.engine.backends.protocol import Backend
from megaseg.engine.backends.tensorrt.plan import is_plan
from megaseg.engine.graph.passes import PASSES
from megaseg.engine.model.checkpoint import Checkpoint, ModelConfig, load_checkpoint, resolve_checkpoint
from megaseg.errors import UnsupportedError
from megaseg.kernels.options import memory, threads

DEVICES = ("auto", "cpu", "cuda")
COMPUTE_TYPES = ("auto", "float32", "float16", "bfloat16", "int8", "float64")
BACKENDS = ("auto", "native", "torch", "onnx", "tensorrt")


def load_backend(
    checkpoint: str | os.PathLike[str] | Checkpoint,
    *,
    device: str,
    compute_type: str,
    num_threads: int,
    backend: str,
    memory_limit: int | None,
    passes: bool,
) -> tuple[ModelConfig, Backend]:
    """The backend, and the config of its model; arguments and errors as of ``Engine.from_checkpoint``."""
    expect("device", device, DEVICES)
    expect("compute_type", compute_type, COMPUTE_TYPES)
    expect("backend", backend, BACKENDS)
    expect("passes", passes, (True, False))
    options: dict[str, Any] = {"num_threads": threads(num_threads), "memory_limit": memory(memory_limit)}
    source = None if isinstance(checkpoint, Checkpoint) else resolve_checkpoint(checkpoint)
    if source is not None and (own := _compiled_for(source)):
        expect(f"backend of {source}", backend, ("auto", own))
        return _compiled(source, own, device, compute_type, options)
    model = checkpoint if isinstance(checkpoint, Checkpoint) else load_checkpoint(checkpoint)
    with model.unchanged(digest=False):
        return model.config, _made(model, backend, device, compute_type, tuple(PASSES) if passes else (), options)


def _made(
    model: Checkpoint, backend: str, device: str, compute_type: str, passes: tuple[str, ...], options: dict[str, Any]
) -> Backend:
    """The backend of a checkpoint."""
    if backend == "auto":
        backend = "torch" if device == "cuda" else "native"
    if backend == "torch":
        return _torch(model, device, compute_type, passes)
    if backend == "onnx":
        from megaseg.engine.backends.onnx.backend import OnnxBackend

        own = "float32" if compute_type == "auto" else compute_type
        return OnnxBackend.from_checkpoint(
            model, compute_type=own, passes=passes, device=device, num_threads=options["num_threads"]
        )
    if backend == "tensorrt":
        from megaseg.engine.backends.tensorrt.backend import TensorRTBackend

        expect("device of backend 'tensorrt'", device, ("auto", "cuda"))
        return TensorRTBackend.from_checkpoint(model, compute_type=compute_type, passes=passes)
    from megaseg.engine.backends.native.backend import NativeBackend

    expect("device of backend 'native'", device, ("auto", "cpu"))
    return NativeBackend.from_checkpoint(model, compute_type=compute_type, passes=passes, **options)


def expect(name: str, value: object, allowed: tuple[object, ...]) -> None:
    """Raises UnsupportedError unless a value is one of those allowed."""
    if value not in allowed:
        raise UnsupportedError(f"{name}: expected one of {', '.join(map(str, allowed))}, got {value!r:.40}")


def _compiled_for(source: Path) -> str:
    """The backend that a compiled model is for; empty for a checkpoint."""
    kinds = {"native": is_artefact, "onnx": is_onnx, "tensorrt": is_plan}
    return next((backend for backend, is_one in kinds.items() if is_one(source)), "")


def _compiled(
    source: Path, backend: str, device: str, compute_type: str, options: dict[str, Any]
) -> tuple[ModelConfig, Backend]:
    """Load a compiled model: its device and compute type are what they are."""
    loaded: Any
    if backend == "onnx":
        from megaseg.engine.backends.onnx.backend import OnnxBackend

        loaded = OnnxBackend.from_file(source, device=device, num_threads=options["num_threads"])
    elif backend == "tensorrt":
        from megaseg.engine.backends.tensorrt.backend import TensorRTBackend

        expect(f"device of {source}", device, ("auto", "cuda"))
        loaded = TensorRTBackend.load(source)
    else:
        from megaseg.engine.backends.native.backend import NativeBackend

        expect(f"device of {source}", device, ("auto", "cpu"))
        loaded = NativeBackend(source, **options)
    expect(f"compute_type of {source}", compute_type, ("auto", loaded.info.compute_type))
    return loaded.info.config, loaded


def _torch(checkpoint: Checkpoint, device: str, compute_type: str, passes: tuple[str, ...]) -> Backend:
    if device == "cuda" and compute_type != "float64":
        try:
            from megaseg.engine.backends.cuda.backend import CudaBackend
        except ImportError as error:
            needed = "device 'cuda' needs the extra gpu: pip install 'megaseg[gpu]'"
            raise UnsupportedError(f"{needed} ({error})") from error
        return CudaBackend(checkpoint, compute_type=compute_type, passes=passes)
    from megaseg.engine.backends.torch.backend import TorchBackend

    return TorchBackend(
        checkpoint,
        device="cpu" if device == "auto" else device,
        compute_type="float32" if compute_type == "auto" else compute_type,
        passes=passes,
    )

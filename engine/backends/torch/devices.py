"""Torch by device: ragged rows and our kernels on CUDA, plain torch elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from megaseg.engine.backends.protocol import Backend
from megaseg.engine.backends.torch.backend import TorchBackend
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.errors import UnsupportedError


def torch_backend(checkpoint: Checkpoint, *, passes: Sequence[str], compute_type: str, device: str) -> Backend:
    """A checkpoint's model on a device; float64 runs in plain torch everywhere.

    Raises:
        UnsupportedError: no torch, no such device, or a compute type that it does not run.
    """
    if device == "cuda" and compute_type != "float64":
        try:
            from megaseg.engine.backends.cuda.backend import CudaBackend
        except ImportError as error:
            needed = "device 'cuda' needs the extra gpu: pip install 'megaseg[gpu]'"
            raise UnsupportedError(f"{needed} ({error})") from error
        return CudaBackend(checkpoint, compute_type=compute_type, passes=passes)
    return TorchBackend(
        checkpoint,
        device="cpu" if device == "auto" else device,
        compute_type="float32" if compute_type == "auto" else compute_type,
        passes=passes,
    )

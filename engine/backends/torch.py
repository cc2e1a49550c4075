"""The reference model behind the engine's protocol: the oracle, and the way to run on a device that torch knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.checkpoint import Checkpoint
from megaseg.errors import UnsupportedError

COMPUTE_TYPES = ("float32", "float64")


class TorchBackend:
    """Runs ``megaseg.models.Mega`` as written, ``batch`` windows at a time for a scene model, in eager mode."""

    def __init__(
        self, checkpoint: Checkpoint, *, device: str = "cpu", compute_type: str = "float32", batch: int = 128
    ) -> None:
        try:
            import torch

            from megaseg import models
        except ImportError as error:
            raise UnsupportedError(
                f"backend 'torch' needs the extra train: pip install 'megaseg[train]' ({error})"
            ) from error
        if device == "cuda" and not torch.cuda.is_available():
            raise UnsupportedError("device 'cuda': torch sees no CUDA device here; supported: cpu")
        if compute_type not in COMPUTE_TYPES:
            raise UnsupportedError(
                f"compute_type {compute_type!r}: backend 'torch' supports {', '.join(COMPUTE_TYPES)}"
            )
        self.batch = batch  # 128 is the fastest on the scene preset and bounds memory
        self._torch = torch
        self._dtype = getattr(torch, compute_type)
        self._model = models.from_checkpoint(checkpoint, self._dtype).to(device)
        self._names = [modality.name for modality in checkpoint.config.modalities]
        self._config = checkpoint.config
        self._device, self._compute_type = device, compute_type

    def run(self, features: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        torch = self._torch
        tensors = {
            # A copy: of one shot read backwards, NumPy keeps the negative stride, which torch refuses.
            name: torch.from_numpy(array.copy()).to(self._device, self._dtype)
            for name, array in zip(self._names, features, strict=True)
        }
        with torch.inference_mode():
            if self._config.task != "scene":
                logits = self._model({name: tensor[None] for name, tensor in tensors.items()})[0]
            else:
                logits = torch.cat([self._centre_logits(tensors, batch) for batch in self._windows(len(features[0]))])
        result: NDArray[np.float32] = logits.cpu().numpy()
        return result

    def _windows(self, shots: int) -> Any:
        """Shot indices (windows, L) of each batch: centred, edge shots repeated at the movie's ends."""
        offsets = np.arange(self._config.max_length) - self._config.max_length // 2
        for start in range(0, shots, self.batch):
            centres = np.arange(start, min(start + self.batch, shots))
            yield self._torch.from_numpy((centres[:, None] + offsets).clip(0, shots - 1))

    def _centre_logits(self, tensors: dict[str, Any], windows: Any) -> Any:
        logits = self._model({name: tensor[windows] for name, tensor in tensors.items()})
        return logits[:, self._config.max_length // 2]

    def describe(self) -> dict[str, Any]:
        weights = sum(tensor.numel() * tensor.element_size() for tensor in self._model.parameters())
        return {
            "backend": "torch",
            "device": self._device,
            "target": f"torch {self._torch.__version__}",
            "compute_type": self._compute_type,
            "num_threads": self._torch.get_num_threads(),
            "weight_bytes": weights,
        }

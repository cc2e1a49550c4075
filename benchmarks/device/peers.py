"""The model as written in torch on a device: eager with SDPA, and compiled. Windows are gathered beforehand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.inputs import Checkpoint
from megaseg.engine.graph.sequences import windows
from megaseg.models import from_checkpoint

Features = Sequence[NDArray[np.float32]]


class Peer:
    """The model in one type on inputs that stay on the device."""

    def __init__(self, checkpoint: Checkpoint, dtype: torch.dtype, device: torch.device, mode: str = "") -> None:
        """``mode`` of torch.compile; eager without one."""
        torch.backends.mha.set_fastpath_enabled(False)  # type: ignore[no-untyped-call]  # SDPA, which compiles too
        self._config = checkpoint.config
        self._dtype, self._device = dtype, device
        model: Callable[..., Tensor] = from_checkpoint(checkpoint, dtype).to(device)
        self._model = torch.compile(model, mode=mode, dynamic=False) if mode else model

    def inputs(self, features: Features, batch: int) -> dict[str, Tensor]:
        """The first ``batch`` windows of a movie (scene), or the movie ``batch`` times (act)."""
        names = [modality.name for modality in self._config.modalities]
        arrays = [torch.from_numpy(array).to(self._device, self._dtype) for array in features]
        if self._config.task == "scene":
            length, shots = self._config.max_length, len(features[0])
            rows = torch.from_numpy(windows(0, batch, length, shots)).to(self._device)
            return {name: array[rows] for name, array in zip(names, arrays, strict=True)}
        return {name: array.expand(batch, -1, -1).contiguous() for name, array in zip(names, arrays, strict=True)}

    def run(self, inputs: dict[str, Tensor]) -> Any:
        with torch.inference_mode():
            return self._model(inputs)

    def logits(self, inputs: dict[str, Tensor]) -> NDArray[np.float32]:
        """(windows, N_c), or (shots, N_c) of the first movie."""
        out = self.run(inputs).float().cpu().numpy()
        return np.asarray(out[:, self._config.max_length // 2] if self._config.task == "scene" else out[0])

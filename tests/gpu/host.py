"""A host in place of a GPU: what ``CudaBackend`` asks of CUDA, done at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from megaseg.engine.backends.cuda.backend import Copies, CudaDevice, Device


def device() -> Device:
    """The GPU where there is one."""
    return CudaDevice() if torch.cuda.is_available() else HostDevice()


class HostDevice:
    torch_device = torch.device("cpu")

    def host(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.empty(shape, dtype=dtype)

    def captured(self, run: Callable[[], list[Tensor]]) -> tuple[Callable[[], object], list[Tensor]]:
        """Every replay runs anew into the same buffers; nothing may be left of the run before."""
        out = [torch.full_like(rows, torch.nan) for rows in run()]
        return torch.inference_mode()(lambda: [to.copy_(rows) for to, rows in zip(out, run(), strict=True)]), out

    def submit(self, inputs: Copies, replay: Callable[[], object], outputs: Copies) -> Callable[[], object]:
        for to, source in inputs:
            to.copy_(source)
        replay()
        for to, _ in outputs:
            to.fill_(torch.nan)  # until it is waited for

        def wait() -> None:
            for to, source in outputs:
                to.copy_(source)

        return wait

"""The GPU as the TensorRT backend sees it, by way of torch: memory, one stream, events and graphs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from megaseg.errors import ResourceLimitError, UnsupportedError

if TYPE_CHECKING:
    from torch import Tensor

_BYTE = np.dtype(np.uint8)
INSTALL = "pip install 'megaseg[tensorrt]'"


class Device:
    """torch's current CUDA device with a stream of its own, on which everything here is enqueued.

    Raises:
        UnsupportedError: no torch, or no GPU that it sees.
    """

    def __init__(self) -> None:
        try:
            import torch
        except ImportError as error:
            raise UnsupportedError(f"backend 'tensorrt' needs torch: {INSTALL} ({error})") from error
        if not torch.cuda.is_available():
            raise UnsupportedError(
                f"backend 'tensorrt' needs an NVIDIA GPU: torch {torch.__version__} sees none here "
                "(a driver that nvidia-smi finds, and a build of torch for CUDA)"
            )
        self._torch: Any = torch  # its CUDA part has no types
        self._stream = self._torch.cuda.Stream()
        self.name = torch.cuda.get_device_name()
        major, minor = torch.cuda.get_device_capability()
        self.capability = f"{major}.{minor}"

    @property
    def handle(self) -> int:
        """The stream as a cudaStream_t."""
        return int(self._stream.cuda_stream)

    def stream(self) -> AbstractContextManager[Any]:
        """Within it this GPU and its stream are the calling thread's current ones."""
        context: AbstractContextManager[Any] = self._torch.cuda.stream(self._stream)
        return context

    def memory(self, size: int, dtype: np.dtype[Any] = _BYTE) -> Tensor:
        """Zeros on the GPU.

        Raises:
            ResourceLimitError: there is no room for them.
        """
        try:
            with self.stream():
                tensor: Tensor = self._torch.zeros(size, dtype=self._dtype(dtype), device="cuda")
                return tensor
        except self._torch.cuda.OutOfMemoryError as error:
            wanted = size * dtype.itemsize
            raise ResourceLimitError(f"GPU memory: expected room for {wanted:,} bytes, got: {error}") from error

    def pinned(self, size: int, dtype: np.dtype[Any]) -> Tensor:
        """Zeros in host memory that the GPU copies from and to by itself."""
        tensor: Tensor = self._torch.zeros(size, dtype=self._dtype(dtype), pin_memory=True)
        return tensor

    def _dtype(self, dtype: np.dtype[Any]) -> Any:
        return self._torch.from_numpy(np.empty(0, dtype)).dtype

    def copy(self, target: Tensor, source: Tensor) -> None:
        """Enqueue a copy between the GPU and pinned memory."""
        target.copy_(source, non_blocking=True)

    def mark(self) -> Callable[[], None]:
        """A point in the stream: calling it waits until the GPU has come so far."""
        event = self._torch.cuda.Event(blocking=True)
        event.record(self._stream)
        wait: Callable[[], None] = event.synchronize
        return wait

    def capture(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        """What ``enqueue`` enqueues as a CUDA graph, which is not run yet: calling it enqueues the graph."""
        graph = self._torch.cuda.CUDAGraph()
        with self._torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            enqueue()
        replay: Callable[[], None] = graph.replay
        return replay

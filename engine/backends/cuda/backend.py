"""The rewritten graph on a CUDA device: a CUDA graph per batch shape, and transfers beside the work."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from megaseg.engine.backends.batches import Batch, Batches, Shape
from megaseg.engine.backends.checks import require_finite, require_ids
from megaseg.engine.backends.cuda.ragged import DeviceBatch, RaggedGraph
from megaseg.engine.backends.protocol import LOGITS, PARTS, Excerpt, Rows
from megaseg.engine.graph.passes import PASSES, rewrite
from megaseg.engine.graph.sequences import Windows
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.family import graph_of
from megaseg.errors import UnsupportedError

COMPUTE_TYPES = ("bfloat16", "float16", "float32")
KEPT_SHAPES = 16  # batch shapes whose buffers and graphs stay; the least recently used goes
Movie = Sequence[NDArray[np.float32]]
Copies = Sequence[tuple[Tensor, Tensor]]  # to, from
Keep = Callable[[int, int, slice, NDArray[np.float32]], None]  # output, movie, its rows, (rows, 1 + parts, width)


class Device(Protocol):
    """Where a ragged graph runs, and how work gets there; tests put the host in place of a GPU."""

    torch_device: torch.device

    def host(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Memory of the host that the device copies by itself."""
        ...

    def captured(self, run: Callable[[], list[Tensor]]) -> tuple[Callable[[], object], list[Tensor]]:
        """Work on fixed buffers as something to replay, and the buffers of its results."""
        ...

    def submit(self, inputs: Copies, replay: Callable[[], object], outputs: Copies) -> Callable[[], object]:
        """Copy in, replay, copy out, all in the background; returns what waits for it."""
        ...


class CudaDevice:
    """The current CUDA device: one stream copies the next batch in while another works on this one."""

    def __init__(self) -> None:
        if not torch.cuda.is_available():
            raise UnsupportedError("device 'cuda': torch sees no CUDA device here; supported: cpu")
        self.torch_device = torch.device("cuda", torch.cuda.current_device())
        self._copies, self._work = torch.cuda.Stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()  # graphs of one stream never run at once and share what they need

    def host(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.empty(shape, dtype=dtype, device="cpu", pin_memory=True)

    def captured(self, run: Callable[[], list[Tensor]]) -> tuple[Callable[[], object], list[Tensor]]:
        torch.cuda.synchronize()  # buffers and weights were written on the caller's stream
        with torch.cuda.stream(self._work):
            run()  # compiles kernels and lets libraries set up, which a graph cannot hold
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._work, capture_error_mode="thread_local"):
            out = run()
        return graph.replay, out

    def submit(self, inputs: Copies, replay: Callable[[], object], outputs: Copies) -> Callable[[], object]:
        with torch.cuda.stream(self._copies):
            for to, source in inputs:
                to.copy_(source, non_blocking=True)
        self._work.wait_stream(self._copies)
        with torch.cuda.stream(self._work):
            replay()
            for to, source in outputs:
                to.copy_(source, non_blocking=True)
            done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            done.record()
        return done.synchronize


class Slot:
    """Buffers of one batch shape on the host and on the device, and the work on them ready to replay."""

    def __init__(self, graph: RaggedGraph, shape: Shape, dtype: torch.dtype, device: Device) -> None:
        own = graph.graph
        counts = [shape.latents, shape.latents, shape.latents, shape.sequences + 1]
        types = {"float32": dtype, "int32": torch.int32}
        self._features = [device.host((shape.rows, m.feature_size), types[m.type]).zero_() for m in own.inputs]
        self._indices = device.host((sum(counts),), torch.int32).zero_()
        self._views = [view.numpy() for view in torch.split(self._indices, counts)]
        on_device = [torch.zeros_like(x, device=device.torch_device) for x in (*self._features, self._indices)]
        self._inputs = list(zip(on_device, (*self._features, self._indices), strict=True))
        row, place, slot, begin = torch.split(on_device[-1], counts)
        longest = own.sequences.length if isinstance(own.sequences, Windows) else shape.latents
        batch = DeviceBatch(row, place, slot, begin, longest)
        self._replay, results = device.captured(lambda: graph(on_device[:-1], batch))
        self._outputs = [(device.host(tuple(result.shape), torch.float32), result) for result in results]
        self._one_row = [own.rows(output, 2) == 1 for output in own.outputs]  # for each movie
        self._device = device
        self._finish: Callable[[], None] | None = None

    def submit(self, batch: Batch, movies: Sequence[Movie], keep: Keep) -> None:
        """Run a batch; ``keep`` gets every output of each movie when it is collected."""
        self.collect()
        for buffer, arrays in zip(self._features, zip(*movies, strict=True), strict=True):
            row = 0
            for piece in batch.pieces:
                part = np.ascontiguousarray(arrays[piece.movie][piece.read])
                part = part if part.flags.writeable else part.copy()  # torch warns of what it may not write
                buffer[row : row + len(part)].copy_(torch.from_numpy(part))
                row += len(part)
        for view, indices in zip(self._views, (batch.row, batch.place, batch.slot, batch.begin), strict=True):
            view[:] = indices
        wait = self._device.submit(self._inputs, self._replay, self._outputs)

        def finish() -> None:
            wait()
            for index, ((host, _), one_row) in enumerate(zip(self._outputs, self._one_row, strict=True)):
                row = 0
                for piece in batch.pieces:
                    wanted = slice(0, 1) if one_row else piece.wanted
                    count = wanted.stop - wanted.start
                    keep(index, piece.movie, wanted, host[row : row + count].numpy())
                    row += count

        self._finish = finish

    def replay(self) -> object:
        """The work on what was submitted last, without transfers."""
        return self._replay()

    def collect(self) -> None:
        """Wait for the batch under way, if any, and hand out its rows."""
        if self._finish:
            finish, self._finish = self._finish, None
            finish()


class CudaBackend:
    """Runs batches of a few fixed shapes, two of each under way at a time: the device does not wait for data."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        compute_type: str = "auto",
        passes: Sequence[str] = tuple(PASSES),
        batch: int = 1 << 15,
        device: Device | None = None,
    ) -> None:
        """Load a checkpoint onto the device. ``batch``: most latents (windows * L, or shots) that run at once.

        Raises:
            UnsupportedError: no CUDA device, or a compute type that is not one of ``COMPUTE_TYPES`` or ``auto``,
                bfloat16.
        """
        chosen = "bfloat16" if compute_type == "auto" else compute_type
        if chosen not in COMPUTE_TYPES:
            offered = ", ".join((*COMPUTE_TYPES, "float64"))
            raise UnsupportedError(f"compute_type {chosen!r}: device 'cuda' supports {offered}")
        self._device = CudaDevice() if device is None else device
        self._compute_type, self._passes = chosen, tuple(passes)
        graph = rewrite(graph_of(checkpoint), self._passes)
        self._batches = Batches(graph.sequences, graph.slots, batch)
        self._graph = RaggedGraph(graph, getattr(torch, chosen), self._device.torch_device)
        self._index = {output.name: index for index, output in enumerate(graph.outputs)}
        self._slots: OrderedDict[Shape, deque[Slot]] = OrderedDict()
        self._lock, self._process = threading.Lock(), os.getpid()

    def run(self, excerpts: Sequence[Excerpt], outputs: Sequence[str] = (LOGITS,)) -> list[Rows]:
        """Outputs of each excerpt, gathered into full batches.

        Raises:
            FeatureError: values beyond the range of float16.
            UnsupportedError: in a process forked after the model was loaded.
        """
        require_ids(self._graph.graph, excerpts)
        results = self._rows(excerpts)
        indices = [self._index[name.removesuffix(PARTS)] for name in outputs]
        for index in indices:
            require_finite([rows[index] for rows in results], self._compute_type)
        wanted: list[tuple[int, Any]] = [
            (index, slice(1, None) if name.endswith(PARTS) else 0) for index, name in zip(indices, outputs, strict=True)
        ]
        return [tuple(rows[index][:, part] for index, part in wanted) for rows in results]

    def new_cache(self) -> None:
        """Nothing is kept from one excerpt to the next."""

    def resident(self, movies: Sequence[Movie]) -> list[Callable[[], object]]:
        """Each batch of these movies as work on features that the device holds already: what a benchmark times."""
        work, lengths = [], [len(movie[0]) for movie in movies]
        with self._lock, torch.inference_mode():
            for batch in self._batches.of(lengths, [range(shots) for shots in lengths]):
                slot = Slot(self._graph, batch.shape, getattr(torch, self._compute_type), self._device)
                slot.submit(batch, movies, lambda *_: None)
                slot.collect()
                work.append(slot.replay)  # which keeps the slot, whose buffers the graph reads
        return work

    def _rows(self, excerpts: Sequence[Excerpt]) -> list[list[NDArray[np.float32]]]:
        """All outputs of each excerpt: (rows, 1 + parts, width)."""
        if os.getpid() != self._process:
            raise UnsupportedError("device 'cuda': a process forked after the model was loaded must load its own")
        movies = [excerpt.features for excerpt in excerpts]
        wanted = [range(excerpt.first, excerpt.last) for excerpt in excerpts]
        graph = self._graph.graph
        out = [
            [np.empty((graph.rows(o, len(own)), 1 + len(o.parts), o.node.width), np.float32) for o in graph.outputs]
            for own in wanted
        ]

        def keep(index: int, movie: int, own: slice, rows: NDArray[np.float32]) -> None:
            out[movie][index][own] = rows

        with self._lock, torch.inference_mode():
            used = []
            for batch in self._batches.of([len(movie[0]) for movie in movies], wanted):
                slot = self._slot(batch.shape)
                slot.submit(batch, movies, keep)
                used.append(slot)
            for slot in used:
                slot.collect()
        return out

    def _slot(self, shape: Shape) -> Slot:
        """A slot of this shape, the one that has been under way for longer."""
        slots = self._slots.setdefault(shape, deque())
        self._slots.move_to_end(shape)
        if len(slots) < 2:
            slots.append(Slot(self._graph, shape, getattr(torch, self._compute_type), self._device))
        else:
            slots.rotate(-1)
        if len(self._slots) > KEPT_SHAPES:
            _, old = self._slots.popitem(last=False)
            for slot in old:
                slot.collect()
        return slots[-1]

    def describe(self) -> dict[str, Any]:
        """Backend, device, target, compute_type, passes, num_threads (that fill batches), weight_bytes."""
        device = self._device.torch_device
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        return {
            "backend": "torch",
            "device": "cuda" if device.type == "cuda" else str(device),
            "target": f"{name}, torch {torch.__version__}",
            "compute_type": self._compute_type,
            "passes": list(self._passes),
            "num_threads": torch.get_num_threads(),
            "weight_bytes": self._graph.weight_bytes,
        }

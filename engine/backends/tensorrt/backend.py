"""A TensorRT engine behind the engine's protocol: full batches, buffers made once, CUDA graphs by shape."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.backends.checks import require_finite, require_ids, require_one_stream
from megaseg.engine.backends.protocol import LOGITS, Excerpt, Rows
from megaseg.engine.backends.tensorrt.api import Context, LoadedEngine, build, chosen_type, tensorrt
from megaseg.engine.backends.tensorrt.batches import (
    Movie,
    Run,
    deliver,
    fill,
    input_shapes,
    output_shapes,
    result_shape,
    runs,
)
from megaseg.engine.backends.tensorrt.device import INSTALL, Device
from megaseg.engine.backends.tensorrt.plan import PlanInfo, Profile, read_plan, write_plan
from megaseg.engine.graph.passes import PASSES, rewrite
from megaseg.engine.inputs.files import cache_folder
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.family import graph_of, structure_of
from megaseg.errors import CheckpointError, UnsupportedError

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, int]  # sequences, shots
ATTENTION = ("onnx", "plugin")
_MOST_GRAPHS = 16  # each keeps a context; batches of windows have fewer shapes, movies any number
_log = logging.getLogger(__name__)


class Captured(NamedTuple):
    """A captured run, with the context that it needs to live."""

    context: Context
    replay: Callable[[], None]


def compile_plan(
    checkpoint: Checkpoint,
    output: str | os.PathLike[str],
    *,
    compute_type: str = "auto",
    passes: Sequence[str] = tuple(PASSES),
    profile: Profile | None = None,
    workspace: int | None = None,
    attention: str = "onnx",
) -> PlanInfo:
    """Build a checkpoint's TensorRT engine for the GPU that is there, and write its plan file, whole or not at all.

    Args:
        output: the plan file (``.plan``).
        compute_type: ``auto`` (float16), ``float16``, ``bfloat16`` or ``float32``.
        passes: names of the exact rewrites to apply.
        profile: sizes of batches; None takes ``Profile.of(checkpoint.config)``.
        workspace: bytes of GPU memory that a layer may take while it runs; None leaves it to TensorRT.
        attention: ``onnx``, standard operators, or ``plugin``, our Triton kernel inside the engine (TensorRT 10.9).

    Raises:
        UnsupportedError: no TensorRT, GPU or ONNX, or a compute type, profile or attention that cannot be.
        CheckpointError: a tensor with NaN or Inf, or beyond the compute type; a checkpoint file that was overwritten
            meanwhile.
    """
    info, engine = build_plan(
        checkpoint,
        compute_type=compute_type,
        passes=passes,
        profile=profile,
        workspace=workspace,
        attention=attention,
    )
    write_plan(output, info, engine)
    return info


def build_plan(
    checkpoint: Checkpoint,
    *,
    compute_type: str = "auto",
    passes: Sequence[str] = tuple(PASSES),
    profile: Profile | None = None,
    workspace: int | None = None,
    attention: str = "onnx",
) -> tuple[PlanInfo, bytes]:
    """``compile_plan`` without its file: what the plan says about itself, and its engine."""
    from megaseg._version import __version__

    if attention not in ATTENTION:
        raise UnsupportedError(f"attention: expected one of {', '.join(ATTENTION)}, got {attention!r}")
    trt, device, folder = tensorrt(), Device(), cache_folder()
    compute_type = chosen_type(compute_type)
    with checkpoint.unchanged():
        weights, model = checkpoint.weights_sha256(), _onnx(checkpoint, compute_type, passes, attention)
    info = PlanInfo(
        config=checkpoint.config,
        compute_type=compute_type,
        passes=tuple(passes),
        attention=attention,
        profile=profile or Profile.of(checkpoint.config),
        tensorrt=trt.__version__,
        gpu=device.name,
        capability=device.capability,
        weights_sha256=weights,
        megaseg=__version__,
        metadata=dict(checkpoint.metadata),
    )
    timing = folder / f"tensorrt-{_digest(trt.__version__, device.name, device.capability)}.timing" if folder else None
    with device.stream():
        engine = build(model, info.config, compute_type, info.profile, workspace=workspace, timing_cache=timing)
    return info, engine


def _onnx(checkpoint: Checkpoint, compute_type: str, passes: Sequence[str], attention: str) -> bytes:
    from megaseg.engine.backends.onnx.file import export

    graph = rewrite(graph_of(checkpoint), passes)
    require_one_stream(graph, "backend 'tensorrt'")
    if attention == "plugin":
        try:
            from megaseg.engine.backends.tensorrt.attention import plugin_model
        except ImportError as error:
            raise UnsupportedError(f"attention 'plugin' needs onnx and Triton: {INSTALL} ({error})") from error
        return plugin_model(graph, compute_type)
    return bytes(export(graph, checkpoint.config, compute_type).SerializeToString())


def _digest(*values: object) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:32]


class _Host:
    """Pinned memory of one batch, filled and read while the GPU works on another."""

    def __init__(self, device: Device, sizes: Mapping[str, tuple[int, np.dtype[Any]]]) -> None:
        self.tensors = {name: device.pinned(*size) for name, size in sizes.items()}
        self._arrays: dict[str, NDArray[Any]] = {name: tensor.numpy() for name, tensor in self.tensors.items()}
        self.finish: Callable[[], None] = lambda: None  # wait for the batch and hand out its results

    def arrays(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[Any]]:
        """The memory as arrays of these shapes."""
        return {name: self._arrays[name][: math.prod(shape)].reshape(shape) for name, shape in shapes.items()}


class TensorRTBackend:
    """Runs a plan on torch's current GPU. Calls from several threads take turns."""

    def __init__(self, info: PlanInfo, engine: bytes | memoryview, path: str | os.PathLike[str] | None = None) -> None:
        """Load an engine; ``path`` is the plan file that it is from, if any.

        Raises:
            UnsupportedError: no TensorRT or GPU here, or another than the plan was built for.
            CheckpointError: an engine that TensorRT cannot read or that is not of its config.
            ResourceLimitError: the GPU has no room for it.
        """
        trt, device = tensorrt(), Device()
        self._path = None if path is None else os.fspath(path)
        source = self._path or "the engine just built"
        info.require_machine(source, trt.__version__, device.name, device.capability)
        self.info, self._device = info, device
        self._engine = LoadedEngine(memoryview(engine), source, device)
        self._graph = structure_of(info.config)
        most = info.profile.sequences[-1], info.profile.shots[-1]
        largest = {**input_shapes(self._graph, *most), **output_shapes(self._graph, *most)}
        types = self._engine.tensors()
        if set(types) != set(largest):
            raise CheckpointError(f"{source}: expected an engine with the tensors {list(largest)}, got {list(types)}")
        sizes = {name: (math.prod(shape), types[name]) for name, shape in largest.items()}
        self._buffers: dict[str, Tensor] = {name: device.memory(*size) for name, size in sizes.items()}
        self._hosts = [_Host(device, sizes) for _ in range(2)]
        self._bytes = len(engine)
        self._plain = self._context()
        self._seen: set[Shape] = set()
        self._graphs: OrderedDict[Shape, Captured] = OrderedDict()
        self._lock, self._process = threading.Lock(), os.getpid()

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TensorRTBackend:
        """Load a plan file.

        Raises:
            CheckpointError: not a whole plan. UnsupportedError, ResourceLimitError: as the constructor.
        """
        return cls(*read_plan(path), path)

    @classmethod
    def from_checkpoint(
        cls, checkpoint: Checkpoint, *, compute_type: str = "auto", passes: Sequence[str] = tuple(PASSES)
    ) -> TensorRTBackend:
        """Build a checkpoint's engine, or take the kept one of the same weights, and load it.

        Raises:
            UnsupportedError, CheckpointError, ResourceLimitError: as ``compile_plan`` and the constructor.
        """
        from megaseg._version import __version__

        trt, device, folder = tensorrt(), Device(), cache_folder()
        compute_type = chosen_type(compute_type)

        def place(weights: str) -> Path | None:
            model = (__version__, weights, checkpoint.config.to_dict(), sorted(passes))
            key = _digest(*model, trt.__version__, device.name, device.capability)
            return folder / f"{key}-tensorrt-{compute_type}.plan" if folder else None

        path = place(checkpoint.weights_sha256())
        if path is not None and os.path.isfile(path):
            try:
                return cls.load(path)
            except CheckpointError as error:
                _log.warning("kept plan ignored, built afresh: %s", error)
        info, engine = build_plan(checkpoint, compute_type=compute_type, passes=passes)
        path = place(info.weights_sha256)
        if path is not None:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_plan(path, info, engine)
            except OSError as error:
                _log.warning("plan not kept: %s: %s", path, error)
                path = None
        return cls(info, engine, path)

    def run(self, excerpts: Sequence[Excerpt], outputs: Sequence[str] = (LOGITS,)) -> list[Rows]:
        """Outputs of each excerpt. Windows of all excerpts share runs, and whole movies of equal length do.

        Raises:
            FeatureError: features that overflow the compute type in the model.
            UnsupportedError: in a process forked after the model was loaded.
        """
        if os.getpid() != self._process:
            raise UnsupportedError("backend 'tensorrt': a process forked after the model was loaded must load its own")
        require_ids(self._graph, excerpts)
        movies = [excerpt.features for excerpt in excerpts]
        wanted = [range(excerpt.first, excerpt.last) for excerpt in excerpts]
        lengths = [len(movie[0]) for movie in movies]
        shapes = {name: [result_shape(self._graph, name, len(own)) for own in wanted] for name in outputs}
        results = {name: [np.empty(shape, np.float32) for shape in own] for name, own in shapes.items()}
        with self._lock, self._device.stream():
            try:
                for run, host in zip(runs(self._graph, self.info.profile, lengths, wanted), cycle(self._hosts)):
                    host.finish()
                    self._submit(host, run, movies, results)
            finally:
                for host in self._hosts:
                    host.finish()
        for rows in results.values():
            require_finite(rows, self.info.compute_type)
        return [tuple(results[name][index] for name in outputs) for index in range(len(excerpts))]

    def new_cache(self) -> None:
        """Nothing is kept from one excerpt to the next."""

    def _submit(
        self, host: _Host, run: Run, movies: Sequence[Movie], results: Mapping[str, list[NDArray[np.float32]]]
    ) -> None:
        """Enqueue the copies to the GPU, one run, and the copies back."""
        inputs = input_shapes(self._graph, run.sequences, run.shots)
        outputs = output_shapes(self._graph, run.sequences, run.shots)
        sizes = {name: math.prod(shape) for name, shape in {**inputs, **outputs}.items()}
        arrays = host.arrays({**inputs, **outputs})
        fill(self._graph, run, movies, arrays)
        for name in inputs:
            self._device.copy(self._buffers[name][: sizes[name]], host.tensors[name][: sizes[name]])
        self._execute((run.sequences, run.shots), inputs)
        for name in results:
            self._device.copy(host.tensors[name][: sizes[name]], self._buffers[name][: sizes[name]])
        host.finish = partial(self._finish, self._device.mark(), host, run, arrays, results)

    def _finish(
        self,
        wait: Callable[[], None],
        host: _Host,
        run: Run,
        arrays: Mapping[str, NDArray[Any]],
        results: Mapping[str, list[NDArray[np.float32]]],
    ) -> None:
        host.finish = lambda: None
        wait()
        for name, rows in results.items():
            deliver(run, arrays[name], rows)

    def _execute(self, shape: Shape, inputs: Mapping[str, tuple[int, ...]]) -> None:
        """Enqueue one run: as it is when the shape is new, then as the shape's own CUDA graph.

        A captured graph holds the state of its context, so each has one that nobody reshapes again. They share their
        memory: runs follow each other on one stream.
        """
        if shape in self._graphs:
            self._graphs.move_to_end(shape)
            self._graphs[shape].replay()
        elif shape in self._seen:
            context = self._context()
            context.reshape(inputs)
            context.enqueue()  # TensorRT's deferred work of a new shape must not be captured
            self._device.mark()()
            self._graphs[shape] = Captured(context, self._device.capture(context.enqueue))
            if len(self._graphs) > _MOST_GRAPHS:
                self._graphs.popitem(last=False)
        else:
            self._plain.reshape(inputs)
            self._plain.enqueue()
            self._seen.add(shape)

    def _context(self) -> Context:
        return self._engine.context({name: buffer.data_ptr() for name, buffer in self._buffers.items()})

    def describe(self) -> dict[str, Any]:
        """Backend, device, target, compute_type, passes, num_threads, weight_bytes, workspace_bytes, artefact."""
        info = self.info
        return {
            "backend": "tensorrt",
            "device": "cuda",
            "target": f"TensorRT {info.tensorrt}, {info.gpu}",
            "compute_type": info.compute_type,
            "passes": list(info.passes),
            "num_threads": 1,
            "weight_bytes": self._bytes,
            "workspace_bytes": self._engine.workspace_bytes,
            "artefact": self._path,
        }

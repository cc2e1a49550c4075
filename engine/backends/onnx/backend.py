"""The graph in ONNX Runtime, on a CPU or a CUDA device."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.backends.batches import Batches
from megaseg.engine.backends.checks import require_finite, require_ids
from megaseg.engine.backends.native.artefact import ArtefactInfo
from megaseg.engine.backends.onnx.file import export_checkpoint, load, needs_extra, read_info
from megaseg.engine.backends.protocol import LOGITS, PARTS, Excerpt, Rows
from megaseg.engine.graph.passes import PASSES
from megaseg.engine.graph.sequences import Windows
from megaseg.engine.inputs.system import usable_cpus
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.family import structure_of
from megaseg.errors import UnsupportedError
from megaseg.kernels.options import threads

if TYPE_CHECKING:
    import onnx

PROVIDERS = {"auto": "CPUExecutionProvider", "cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
Array = NDArray[np.float32]
WINDOWS = "windows"  # input: the rows of shots of every window


class OnnxBackend:
    """Runs an ONNX model, at most ``batch`` windows at once where it sees windows."""

    def __init__(
        self,
        model: onnx.ModelProto,
        info: ArtefactInfo,
        *,
        device: str = "auto",
        num_threads: int = 0,
        batch: int = 256,
    ) -> None:
        """Load a model that says ``info`` about itself; ``num_threads`` 0 takes every core that the process may use.

        Raises:
            UnsupportedError: no ONNX Runtime, or one without the device or without the model's compute type on it.
        """
        self.info = info
        self.batch = batch  # bounds memory
        self._graph = structure_of(info.config)
        self._names = [modality.name for modality in self._graph.inputs]
        self._weight_bytes = sum(len(weight.raw_data) for weight in model.graph.initializer)
        self._num_threads = threads(num_threads) or usable_cpus()
        self._session = self._open(model.SerializeToString(), device)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], **options: Any) -> OnnxBackend:
        """Load a file of ``megaseg compile`` for ONNX; ``options`` as the class takes them.

        Raises:
            CheckpointError: another file, or one that is not whole.
            UnsupportedError: as the class does.
        """
        return cls(*load(path), **options)

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        *,
        compute_type: str = "float32",
        passes: Sequence[str] = tuple(PASSES),
        **options: Any,
    ) -> OnnxBackend:
        """Export a checkpoint in memory and load it; ``options`` as the class takes them."""
        model = export_checkpoint(checkpoint, compute_type, passes=passes)
        return cls(model, read_info(model), **options)

    def _open(self, model: bytes, device: str) -> Any:
        try:
            import onnxruntime
            from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, NotImplemented
        except ImportError as error:
            raise needs_extra("backend 'onnx'", error) from error
        self._target = f"onnxruntime {onnxruntime.__version__}"
        provider, there = PROVIDERS[device], onnxruntime.get_available_providers()
        if provider not in there:
            raise UnsupportedError(f"device {device!r}: {self._target} has no {provider}, only {', '.join(there)}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._num_threads
        options.log_severity_level = 3  # errors
        try:
            session = onnxruntime.InferenceSession(model, options, providers=[provider])
        except (Fail, InvalidGraph, NotImplemented) as error:
            raise UnsupportedError(
                f"compute_type {self.info.compute_type!r}: {self._target} cannot run it with {provider}: {error}"
            ) from error
        if session.get_providers()[0] != provider:  # it goes on without one that does not start
            raise UnsupportedError(f"device {device!r}: {provider} of {self._target} did not start")
        session.disable_fallback()
        return session

    def run(self, excerpts: Sequence[Excerpt], outputs: Sequence[str] = (LOGITS,)) -> list[Rows]:
        """Outputs of each excerpt.

        Windows of all excerpts share full batches, so that a movie's rows may differ in their last bits from
        those of a run of its own: ONNX Runtime's products depend on their number of rows. Whole sequences run one at a
        time.

        Raises:
            FeatureError: features that overflow the compute type.
        """
        require_ids(self._graph, excerpts)
        if not isinstance(self._graph.sequences, Windows):
            results = [self._whole(excerpt, outputs) for excerpt in excerpts]
        else:
            results = self._windows(self._graph.sequences.length, excerpts, outputs)
        for own in zip(*results, strict=True):
            require_finite(own, self.info.compute_type)
        return results

    def new_cache(self) -> None:
        """Nothing is kept from one excerpt to the next."""

    def _whole(self, excerpt: Excerpt, outputs: Sequence[str]) -> Rows:
        feeds = {name: x[None] for name, x in zip(self._names, excerpt.features, strict=True)}
        values = self._session.run(list(outputs), feeds)
        by_sequence = [self._graph.output(name.removesuffix(PARTS)).by_sequence for name in outputs]
        return tuple(x if one_row else x[0] for x, one_row in zip(values, by_sequence, strict=True))

    def _windows(self, length: int, excerpts: Sequence[Excerpt], outputs: Sequence[str]) -> list[Rows]:
        if not excerpts:
            return []
        batches = (self._session.run(list(outputs), feeds) for feeds in self._batches(length, excerpts))
        ends = np.cumsum([excerpt.last - excerpt.first for excerpt in excerpts])[:-1]
        rows = (np.split(np.concatenate(part), ends) for part in zip(*batches, strict=True))
        return list(zip(*rows, strict=True))

    def _batches(self, length: int, excerpts: Sequence[Excerpt]) -> Iterator[dict[str, NDArray[Any]]]:
        """Windows of all excerpts, one after the other, in batches with only the shots that they stand on."""
        movies = [excerpt.features for excerpt in excerpts]
        wanted = [range(excerpt.first, excerpt.last) for excerpt in excerpts]
        cut = Batches(self._graph.sequences, 1, self.batch * length)
        for batch in cut.of([len(movie[0]) for movie in movies], wanted):
            count = sum(piece.wanted.stop - piece.wanted.start for piece in batch.pieces)
            feeds = {
                name: np.concatenate([movies[piece.movie][index][piece.read] for piece in batch.pieces])
                for index, name in enumerate(self._names)
            }
            yield {**feeds, WINDOWS: batch.row.reshape(-1, length)[:count].astype(np.int64)}

    def describe(self) -> dict[str, Any]:
        """Backend, device, target, compute_type, passes, num_threads, weight_bytes, ONNX Runtime's providers."""
        providers = self._session.get_providers()
        return {
            "backend": "onnx",
            "device": "cuda" if providers[0] == PROVIDERS["cuda"] else "cpu",
            "target": self._target,
            "compute_type": self.info.compute_type,
            "passes": list(self.info.passes),
            "num_threads": self._num_threads,
            "weight_bytes": self._weight_bytes,
            "providers": providers,
        }

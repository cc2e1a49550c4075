"""The C++ engine behind the engine's protocol."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.backends.native.artefact import in_memory, kept, plan_info
from megaseg.engine.backends.native.extension import extension
from megaseg.engine.backends.protocol import LOGITS, Excerpt, Rows
from megaseg.engine.graph.passes import PASSES
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.errors import CheckpointError
from megaseg.kernels.options import memory, threads

FEW = 32  # shots, fewer than make a product of their own worth while: excerpts' are put together


class NativeBackend:
    """Runs a compiled model on the CPU, on its own threads, without torch."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        num_threads: int = 0,
        memory_limit: int | None = None,
    ) -> None:
        """Load a compiled model.

        Raises:
            CheckpointError: a file that is not a whole compiled model of this version.
            UnsupportedError: compiled for another machine, or an option that cannot be.
            ResourceLimitError: the model does not fit ``memory_limit``.
        """
        options = {"num_threads": threads(num_threads), "memory_limit": memory(memory_limit) or 0}
        self._plan = extension().Plan(os.fsencode(path), **options)
        self._artefact: str | None = os.fspath(path)
        self.info = plan_info(path, self._plan)

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        *,
        compute_type: str = "auto",
        target: str = "",
        passes: Sequence[str] = tuple(PASSES),
        num_threads: int = 0,
        memory_limit: int | None = None,
    ) -> NativeBackend:
        """Load the kept compiled model of a checkpoint's file; compile it where there is none, in memory if need be."""
        chosen = (compute_type, target, tuple(passes))
        options: dict[str, Any] = {"num_threads": num_threads, "memory_limit": memory_limit}
        for _ in range(2):
            if (path := kept(checkpoint, *chosen)) is None:
                break
            try:
                return cls(path, **options)
            except CheckpointError:  # corrupt, or not readable: compile it again where it can be removed
                try:
                    path.unlink(missing_ok=True)
                except OSError:
                    break
        with in_memory(checkpoint, *chosen) as path:
            backend = cls(path, **options)
        backend._artefact = None
        return backend

    def run(self, excerpts: Sequence[Excerpt], outputs: Sequence[str] = (LOGITS,)) -> list[Rows]:
        """Outputs of each excerpt, in full batches whatever their lengths; nothing is padded.

        What a cache holds is not computed again, and rows are those of a run on the whole movie, bit for bit. A cache
        is empty after a run that failed half-way (``shots`` is 0).

        Raises:
            FeatureError: features that overflow in the model; names the movie and the row.
            ValueError: rows or arrays that do not fit, a cache of another model or given twice.
            UnsupportedError: in a process forked after the model was loaded.
        """
        rows: list[Rows] = self._plan.run(_wanted(excerpts), list(outputs))
        return rows

    def timed(
        self, excerpts: Sequence[Excerpt], outputs: Sequence[str], *, cpu_time: bool
    ) -> tuple[float, list[dict[str, Any]]]:
        """Seconds of a run, and what every step is and did, as ``_C.Plan.profile`` says; ``profile.py`` reads it."""
        timed: tuple[float, list[dict[str, Any]]]
        timed = self._plan.profile(_wanted(excerpts), list(outputs), cpu_time=cpu_time)
        return timed

    def ceilings(self) -> tuple[dict[str, float], list[tuple[int, float, float]]]:
        """What this machine does at most on the model's threads: ``profile.Ceilings``."""
        measured: tuple[dict[str, float], list[tuple[int, float, float]]] = self._plan.ceilings()
        return measured

    def new_cache(self) -> Any | None:
        """An empty cache of one movie's last shots, with ``shots`` that it holds now and ``nbytes``.

        None where this program keeps nothing: windows are made of features themselves, or sequences are whole.
        """
        return self._plan.new_cache()

    def describe(self) -> dict[str, Any]:
        """Backend, device, target, compute_type, passes, num_threads, weight_bytes, the most workspace of a run."""
        return {
            "backend": "native",
            "device": "cpu",
            "target": self.info.target,
            "compute_type": self.info.compute_type,
            "passes": list(self.info.passes),
            "num_threads": self._plan.num_threads,
            "weight_bytes": self._plan.weight_bytes,
            "workspace_bytes": self._plan.workspace_bytes,
            "artefact": self._artefact,
        }


def _wanted(excerpts: Sequence[Excerpt]) -> list[tuple[Any, ...]]:
    """Excerpts as the extension takes them."""
    features = _adjoining([excerpt.features for excerpt in excerpts])
    return [(own, e.first, e.last, e.cache) for own, e in zip(features, excerpts, strict=True)]


def _adjoining(movies: Sequence[Sequence[NDArray[np.float32]]]) -> list[list[NDArray[np.float32]]]:
    """The same arrays; ids and those of few shots one after the other in memory, so that one step takes them all."""
    if len(movies) == 1:
        return [list(movies[0])]
    modalities = []
    for arrays in zip(*movies, strict=True):
        few = [len(array) <= FEW or array.dtype == np.int32 for array in arrays]
        short = [array for array, own in zip(arrays, few, strict=True) if own]
        together, end, parts = np.concatenate(short) if short else None, 0, []
        for array, own in zip(arrays, few, strict=True):
            parts.append(array if together is None or not own else together[end : end + len(array)])
            end += len(array) if own else 0
        modalities.append(parts)
    return [list(features) for features in zip(*modalities, strict=True)]

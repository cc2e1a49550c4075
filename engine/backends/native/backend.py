"""The C++ engine behind the engine's protocol."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.backends.native.artefact import in_memory, kept, plan_info
from megaseg.engine.backends.native.extension import extension
from megaseg.engine.backends.protocol import Excerpt
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

    def run(self, features: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Checked features in the config's order, each (shots, D_m), to logits (shots, N_c).

        Raises:
            UnsupportedError: in a process forked after the model was loaded.
        """
        return self.run_many([features])[0]

    def run_many(self, movies: Sequence[Sequence[NDArray[np.float32]]]) -> list[NDArray[np.float32]]:
        """As ``run`` for several movies, packed into full batches whatever their lengths; nothing is padded."""
        logits: list[NDArray[np.float32]] = self._plan.run([list(features) for features in movies])
        return logits

    def run_windows(self, excerpts: Sequence[Excerpt]) -> list[NDArray[np.float32]]:
        """Logits (last - first, N_c) of each excerpt's windows, in full batches; each keeper goes on to its last shots.

        Beyond an excerpt's ends the shot at its end is repeated: they are the movie's ends, or no window reaches them.
        What a keeper holds is not computed again, and logits are those of a run on the whole movie, bit for bit. A
        keeper is empty after a run that failed half-way (``shots`` is 0).

        Raises:
            ValueError: windows or arrays that do not fit, a keeper of another model or given twice.
            UnsupportedError: in a process forked after the model was loaded.
        """
        features = _adjoining([excerpt.features for excerpt in excerpts])
        logits: list[NDArray[np.float32]] = self._plan.run_windows(
            [(own, e.first, e.last, e.kept) for own, e in zip(features, excerpts, strict=True)]
        )
        return logits

    def keep(self) -> Any | None:
        """An empty keeper of one movie's last L - 1 shots, with ``shots`` that it holds now and ``nbytes``.

        None where this program keeps nothing: windows are made of features themselves, or the model is no scene model.
        """
        return self._plan.keep()

    def explain(self, features: Sequence[NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logits (shots, N_c), and what each modality contributes to them (shots, M, N_c), of one run."""
        logits, contributions = self._plan.explain(list(features))
        return logits, contributions

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


def _adjoining(movies: Sequence[Sequence[NDArray[np.float32]]]) -> list[list[NDArray[np.float32]]]:
    """The same arrays, those of few shots one after the other in memory, so that one product takes them together."""
    modalities = []
    for arrays in zip(*movies, strict=True):
        short = [array for array in arrays if len(array) <= FEW]
        ends = np.cumsum([len(array) for array in short])
        parts = iter(np.split(np.concatenate(short), ends[:-1]) if short else ())
        modalities.append([next(parts) if len(array) <= FEW else array for array in arrays])
    return [list(features) for features in zip(*modalities, strict=True)]

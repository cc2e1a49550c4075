"""Backends: each loads a checkpoint once and runs it. ``Engine`` never asks which one it has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Backend(Protocol):
    """What the engine needs of a backend. ``run_many`` may be called from several threads at once."""

    def run_many(self, movies: Sequence[Sequence[NDArray[np.float32]]]) -> list[NDArray[np.float32]]:
        """Checked features of each movie in the config's order, each (shots, D_m), to its logits (shots, N_c)."""
        ...

    def explain(self, features: Sequence[NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """One movie's logits as ``run_many`` gives them, and what each modality contributes: (shots, M, N_c).

        logits = bias + the sum of contributions over modalities; the model runs once.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """What runs: backend, device, target, compute_type, num_threads, weight_bytes, ..."""
        ...

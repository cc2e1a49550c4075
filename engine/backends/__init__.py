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

    def describe(self) -> dict[str, Any]:
        """What runs: backend, device, target, compute_type, num_threads, weight_bytes, ..."""
        ...

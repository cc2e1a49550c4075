"""Backends: each loads a checkpoint once and runs it. ``Engine`` never asks which one it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from megaseg.errors import FeatureError


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Neighbouring shots of a movie, and the range of them whose windows are asked for (scene models).

    ``features`` are (shots, D_m) a modality of the shots that ``kept`` does not hold. Windows ``first`` to ``last``
    (exclusive) are counted from the first shot of both together; what a window reaches beyond the excerpt repeats its
    edge, so that edge must be the movie's.
    """

    features: Sequence[NDArray[np.float32]]
    first: int
    last: int
    kept: Any = None


class Backend(Protocol):
    """What the engine needs of a backend. Runs may be called from several threads at once."""

    def run_many(self, movies: Sequence[Sequence[NDArray[np.float32]]]) -> list[NDArray[np.float32]]:
        """Checked features of each movie in the config's order, each (shots, D_m), to its logits (shots, N_c)."""
        ...

    def run_windows(self, excerpts: Sequence[Excerpt]) -> list[NDArray[np.float32]]:
        """Logits (last - first, N_c) of each excerpt's windows, as ``run_many`` gives them for the whole movie.

        Afterwards an excerpt's ``kept`` holds what the last L - 1 of its shots have in common with later ones.
        """
        ...

    def keep(self) -> Any:
        """An empty ``kept`` for the excerpts of one movie in their order, or None: this backend keeps nothing."""
        ...

    def explain(self, features: Sequence[NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """One movie's logits as ``run_many`` gives them, and what each modality contributes: (shots, M, N_c).

        logits = bias + the sum of contributions over modalities; the model runs once.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """What runs: backend, device, target, compute_type, num_threads, weight_bytes, ..."""
        ...


def require_finite(logits: Sequence[NDArray[np.floating]], compute_type: str) -> None:
    """Refuse what overflowed on its way through a model: logits of each movie, (rows, ...).

    Raises:
        FeatureError: some are NaN or Inf; names the first movie and row.
    """
    for movie, rows in enumerate(logits):
        finite = np.isfinite(rows.reshape(len(rows), -1)).all(axis=1)
        if not finite.all():
            raise FeatureError(
                f"features of movie {movie}: expected values that give finite logits, got NaN or Inf in row "
                f"{int(finite.argmin())}: they overflow {compute_type} in the model"
            )

"""Pairs of scenes of two movies by a greedy choice in the matrix of their similarities (arXiv 2306.15796, Sec. 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ScenePairs:
    """Scene pairs of two movies in the order taken: the highest score first.

    first: (P, 2) int32, the first shot of the scene in each movie. scores: (P,) float32, their shots' mean similarity.
    """

    first: NDArray[np.int32]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)

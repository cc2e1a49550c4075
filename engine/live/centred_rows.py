"""Rows of windows around each shot while shots come one by one: which are final, and what they are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.backends.excerpts import model_rows
from megaseg.engine.backends.protocol import Excerpt
from megaseg.engine.graph.sequences import Windows
from megaseg.engine.live.feature_buffer import FeatureBuffer
from megaseg.engine.model.config import ModelConfig


class CentredRows:
    """Where a stream of shots stands. A row is final once the shots after it that its window sees have come."""

    def __init__(self, sequences: Windows) -> None:
        self.half = sequences.half
        self.num_shots, self.closed = 0, False
        self.done = 0  # rows that were given

    @property
    def final(self) -> int:
        """End of the rows that are final."""
        return self.num_shots if self.closed else max(self.done, self.num_shots - self.half)

    @property
    def needed(self) -> int:
        """First shot that windows still to run may see."""
        return max(0, self.done - self.half)

    def excerpts(self, config: ModelConfig, buffer: FeatureBuffer) -> list[Excerpt]:
        """What gives the rows that have become final; nothing where there are none."""
        if self.final == self.done:
            return []
        first = self.needed
        return [Excerpt(model_rows(config, buffer.read(first, buffer.end)), self.done - first, self.final - first)]

    def give(self, rows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32] | None:
        """The rows of ``excerpts``, which are given; None where there are none."""
        if not rows:
            return None
        self.done = self.final
        return rows[0]

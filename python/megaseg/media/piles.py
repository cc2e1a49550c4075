"""Values that are added in batches of one size and taken in batches of another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from megaseg.errors import FeatureError


class Pile:
    """Rows (n, width) of float32, first in first out."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._parts: list[NDArray[np.float32]] = []
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    def add(self, rows: NDArray[np.float32]) -> None:
        """Add rows at the end.

        Raises:
            FeatureError: rows of another width.
        """
        if rows.ndim != 2 or rows.shape[1] != self._width:
            raise FeatureError(f"measure: expected values (n, {self._width}), got {rows.shape}")
        self._parts.append(rows.astype(np.float32))
        self._rows += len(rows)

    def take(self, rows: int) -> NDArray[np.float32]:
        """Remove so many rows from the front, fewer where there are fewer."""
        whole = np.concatenate([np.empty((0, self._width), np.float32), *self._parts])
        self._parts = [whole[rows:].copy()]
        self._rows = len(self._parts[0])
        return whole[:rows]

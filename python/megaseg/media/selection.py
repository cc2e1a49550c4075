"""Which frames become pictures: two a second, and one shortly after every sudden change."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

_EVERY = Fraction(1, 2)  # seconds of the film from one picture to the next
_LEAST = Fraction(1, 6)  # seconds between pictures that changes ask for
_SUDDEN = 14.0  # mean change of luma from one frame to the next
_AFTER = 4  # frames from a change to its picture: the shot's first frames may be blurred or mixed


class Selection:
    """Decides frame by frame; its whole state but the latest frame is ``state``."""

    def __init__(self, time_base: Fraction, state: tuple[int, int] | None = None) -> None:
        self._every = float(_EVERY / time_base)
        self._least = float(_LEAST / time_base)
        self._last, self._wait = state or (-(1 << 62), 0)  # tick of the last picture, frames until the next
        self._before: NDArray[np.uint8] | None = None

    @property
    def state(self) -> tuple[int, int]:
        """What a later ``Selection`` goes on from, which has first been shown the frame before."""
        return self._last, self._wait

    def show(self, luma: NDArray[np.uint8]) -> float:
        """Mean change of luma from the frame before; keeps this one's."""
        luma = luma[::3, ::3]
        change = 0.0
        if self._before is not None:
            distance = np.maximum(luma, self._before) - np.minimum(luma, self._before)
            change = float(distance.sum(dtype=np.uint32)) / luma.size
        self._before = luma.copy()
        return change

    def wants(self, luma: NDArray[np.uint8], tick: int) -> bool:
        """Whether the frame at ``tick``, the next one, becomes a picture."""
        due = self._wait == 1
        self._wait = max(self._wait - 1, 0)
        if self.show(luma) > _SUDDEN:
            self._wait = _AFTER
        taken = (due and tick - self._last >= self._least) or tick // self._every > self._last // self._every
        if taken:
            self._last = tick
        return taken

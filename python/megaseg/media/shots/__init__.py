"""Shots of a film: detectors behind one protocol, and lists of the user's own.

A detector has a measure, which sees every frame of the decoding pass, and decides on its values afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from megaseg.errors import UnsupportedError
from megaseg.media.measures import MeasureSpec
from megaseg.media.shots.adaptive import AdaptiveDetector
from megaseg.media.shots.transnet import TransNetDetector

__all__ = ["DETECTORS", "ShotDetector", "shot_detector"]


class ShotDetector(Protocol):
    """A detector of shots. What it finds covers the film: a shot begins where the one before ends."""

    name: str

    @property
    def measure(self) -> MeasureSpec:
        """The measure of every frame whose values the detector decides on."""
        ...

    def shots(self, values: NDArray[np.float32], frame_ticks: NDArray[np.int64]) -> NDArray[np.int64]:
        """First and last frame (n, 2) of each shot, of the measure's values (frames, width) and the frames' ticks."""
        ...


DETECTORS: dict[str, Callable[..., ShotDetector]] = {"adaptive": AdaptiveDetector, "transnetv2": TransNetDetector}
"""Detectors by name, the default first. Each takes ``num_threads``, 0 for all cores."""


def shot_detector(name: str, *, num_threads: int = 0) -> ShotDetector:
    """The detector of a name; its models are loaded when the first frames come.

    Raises:
        UnsupportedError: no such detector.
    """
    if name not in DETECTORS:
        raise UnsupportedError(f"detector: expected one of {', '.join(DETECTORS)}, got {name!r}")
    return DETECTORS[name](num_threads=num_threads)

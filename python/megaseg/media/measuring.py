"""Measures at work: frames and pictures in the batches that each of them asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.errors import FeatureError
from megaseg.media.frames import Ring
from megaseg.media.measures import FrameMeasure, Measures, PictureMeasure, SoundMeasure
from megaseg.media.parts import SEEN
from megaseg.media.piles import Pile
from megaseg.media.thumbnails import ThumbnailEncoder, can_encode

_PICTURES = 16  # pictures that are measured at once; a part's last batch is smaller


@dataclass(frozen=True, slots=True)
class Made:
    """Measures that are ready."""

    frames: tuple[FrameMeasure, ...]
    pictures: tuple[PictureMeasure, ...]
    sound: tuple[SoundMeasure, ...]
    thumbnails: bool = False

    @property
    def identities(self) -> list[tuple[str, int, str]]:
        """Name, width and identity of all that is kept, which a cache is known by."""
        kept: list[Any] = [*self.frames, *self.pictures, *self.sound, *[ThumbnailEncoder] * self.thumbnails]
        return [(measure.name, measure.width, measure.identity) for measure in kept]


def make(measures: Measures, size: int) -> Made:
    """Measures made of their specifications, for parts of ``size`` frames.

    Raises:
        FeatureError: a step, context or name that a pass cannot serve.
    """
    kinds = [[spec.make() for spec in specs] for specs in (measures.frames, measures.pictures, measures.sound)]
    for kind in kinds:
        names = [measure.name for measure in kind]
        if len({*names}) < len(names):
            raise FeatureError(f"measures: expected one of each name, got {', '.join(names)}")
    frames, pictures, sound = map(tuple, kinds)
    made = Made(frames, pictures, sound, measures.thumbnails and can_encode())
    for measure in made.frames:
        if not 0 <= measure.context <= SEEN or measure.step < 1 or size % measure.step:
            raise FeatureError(
                f"measure {measure.name}: expected a context up to {SEEN} frames and a step that divides {size}, "
                f"got {measure.context} and {measure.step}"
            )
    return made


def ring_for(made: Made, first: int) -> Ring:
    """A ring of as many frames as the measures look at, whose first is frame ``first``."""
    return Ring(max([SEEN, *(measure.step + 2 * measure.context for measure in made.frames)]) + 1, first)


class FrameValues:
    """Values of one measure of every frame from frame ``first`` on."""

    def __init__(self, measure: FrameMeasure, ring: Ring, first: int) -> None:
        self._measure = measure
        self._ring = ring
        self._next = first
        self.values = Pile(measure.width)

    def advance(self) -> None:
        """Measure what the latest frame completes."""
        step = self._measure.step
        while self._ring.count >= self._next + step + self._measure.context:
            self._take(step)

    def finish(self) -> None:
        """Measure the film's last frames."""
        while self._next < self._ring.count:
            self._take(min(self._measure.step, self._ring.count - self._next))

    def _take(self, frames: int) -> None:
        context = self._measure.context
        values = self._measure.measure(self._ring.window(self._next - context, self._next + frames + context))
        if len(values) != frames:
            raise FeatureError(f"measure {self._measure.name}: expected values of {frames} frames, got {len(values)}")
        self.values.add(values)
        self._next += frames


class PictureValues:
    """Values of pictures by all measures of them."""

    def __init__(self, measures: Sequence[PictureMeasure]) -> None:
        self._measures = measures
        self._waiting: list[NDArray[np.uint8]] = []
        self.values = {measure.name: Pile(measure.width) for measure in measures}
        self.ticks: list[int] = []  # of pictures that no part has taken yet

    def push(self, picture: NDArray[np.uint8], tick: int) -> None:
        """Add one picture (224, 224, 3)."""
        self.ticks.append(tick)
        self._waiting.append(picture)
        if len(self._waiting) == _PICTURES:
            self.flush()

    def flush(self) -> None:
        """Measure the pictures that wait, so that the next batch starts with the next picture."""
        if self._waiting:
            pictures = np.stack(self._waiting)
            self._waiting.clear()
            for measure in self._measures:
                self.values[measure.name].add(measure.measure(pictures))


def taken(values: dict[str, Any], rows: int) -> dict[str, NDArray[np.float32]]:
    """The first rows of piles by name, removed from them."""
    return {name: pile.take(rows) for name, pile in values.items()}

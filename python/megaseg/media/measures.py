"""What one decoding pass gives to those who measure a film: small frames, pictures and sound, each in its own protocol.

All three are functions of their arguments and keep no state, so that a film may be read part by part.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from megaseg.media.thumbnails import Thumbnails

LUMA = (108, 192)  # rows and columns of a small frame, whatever the film's shape: points of the frame, not averages
CHROMA = (54, 96)
PICTURE = 224  # rows and columns of a picture, whatever the film's shape
RATE = 16_000  # samples a second of sound, mono
SOUND_ROW = 8_000  # samples of one row of sound: half a second


@dataclass(frozen=True, slots=True)
class SmallFrames:
    """Consecutive frames as YUV (BT.601, limited range as most films store it; other ranges are converted).

    ``luma`` is uint8 (n, 108, 192), ``chroma`` uint8 (n, 2, 54, 96): Cb and Cr.
    """

    luma: NDArray[np.uint8]
    chroma: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.luma)


class FrameMeasure(Protocol):
    """A measure of every frame, such as a shot detector's."""

    name: str
    width: int
    context: int
    """Frames that it sees before and after those that it measures; beyond the film's ends they repeat the last one."""
    step: int
    """Frames that one call measures, a divisor of 6,000; the last call of a film measures fewer."""
    identity: str
    """Changes whenever the values would."""

    def measure(self, frames: SmallFrames) -> NDArray[np.float32]:
        """Values (n - 2 context, width) of n consecutive frames without those of the context."""
        ...


class PictureMeasure(Protocol):
    """A measure of pictures, taken about twice a second and shortly after every sudden change."""

    name: str
    width: int
    identity: str

    def measure(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Values (k, width) of RGB pictures (k, 224, 224, 3)."""
        ...


class SoundMeasure(Protocol):
    """A measure of every half second of sound."""

    name: str
    width: int
    identity: str

    def measure(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values (k, width) of rows of samples (k, 8000) in [-1, 1]."""
        ...


Measure = FrameMeasure | PictureMeasure | SoundMeasure


@dataclass(frozen=True, slots=True)
class MeasureSpec:
    """A measure by the path of its class, such as ``package.module:Class``, and its keyword options, values of JSON.

    Films are read in a process of their own, where measures are made.
    """

    factory: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, kind: Callable[..., Measure], **options: Any) -> MeasureSpec:
        """A measure of this class."""
        return cls(f"{kind.__module__}:{kind.__qualname__}", options)

    def make(self) -> Any:
        """The measure."""
        module, _, name = self.factory.partition(":")
        return getattr(importlib.import_module(module), name)(**self.options)


@dataclass(frozen=True, slots=True)
class Measures:
    """What is measured in one pass: of every frame, of pictures, and of sound. Names are unique within each kind.

    ``thumbnails`` says whether pictures are kept as well, small and encoded.
    """

    frames: tuple[MeasureSpec, ...] = ()
    pictures: tuple[MeasureSpec, ...] = ()
    sound: tuple[MeasureSpec, ...] = ()
    thumbnails: bool = False


@dataclass(frozen=True, slots=True)
class Recording:
    """What one pass over a film gave. Times are integer ticks of ``time_base`` from the start of the presentation.

    ``frame_ticks`` (frames + 1,) are the start of each frame and the end of the last; ``frames`` has arrays (frames,
    width) by the measure's name, ``pictures`` (pictures, width) at ``picture_ticks`` (pictures,), ``sound`` (rows,
    width) over ``sound_ticks`` (rows, 2), without rows where the film has no sound; ``lines`` are embedded subtitles.
    ``damaged`` says that something could not be read or decoded, and is missing or guessed by the decoder.
    """

    info: Any  # VideoInfo
    frame_ticks: NDArray[np.int64]
    frames: dict[str, NDArray[np.float32]]
    picture_ticks: NDArray[np.int64]
    pictures: dict[str, NDArray[np.float32]]
    sound_ticks: NDArray[np.int64]
    sound: dict[str, NDArray[np.float32]]
    lines: tuple[Any, ...] = ()  # SubtitleLine
    damaged: bool = False
    thumbnails: Thumbnails = field(default_factory=Thumbnails.none)

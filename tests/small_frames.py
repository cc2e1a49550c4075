"""Small frames, pictures and sounds for tests of measures."""

from __future__ import annotations

import numpy as np

from megaseg.media.measures import CHROMA, LUMA, FrameMeasure, SmallFrames


def still(seed: int, frames: int = 1, *, shift: int = 0) -> SmallFrames:
    """``frames`` frames of a smooth random picture that moves ``shift`` columns a frame."""
    random = np.random.default_rng(seed)

    def plane(rows: int, columns: int, low: int, high: int) -> np.ndarray:
        coarse = random.integers(low, high, (rows // 18, columns // 24))
        return np.kron(coarse, np.ones((18, 24), int)).astype(np.uint8)

    luma = plane(*LUMA, 30, 220)
    chroma = np.stack([plane(*CHROMA, 90, 166) for _ in range(2)])
    return SmallFrames(
        np.stack([np.roll(luma, shift * i, 1) for i in range(frames)]),
        np.stack([np.roll(chroma, shift * i // 2, 2) for i in range(frames)]),
    )


def flat(level: int, frames: int) -> SmallFrames:
    return SmallFrames(np.full((frames, *LUMA), level, np.uint8), np.full((frames, 2, *CHROMA), 128, np.uint8))


def blend(a: SmallFrames, b: SmallFrames, frames: int) -> SmallFrames:
    """A dissolve from the first frame of ``a`` to the first of ``b``, both left out."""
    share = (np.arange(1, frames + 1) / (frames + 1)).reshape(-1, 1, 1)
    luma = a.luma[:1] * (1 - share) + b.luma[:1] * share
    chroma = a.chroma[:1] * (1 - share[..., None]) + b.chroma[:1] * share[..., None]
    return SmallFrames(luma.astype(np.uint8), chroma.astype(np.uint8))


def join(*parts: SmallFrames) -> SmallFrames:
    return SmallFrames(*(np.concatenate([getattr(part, plane) for part in parts]) for plane in ("luma", "chroma")))


def measured(measure: FrameMeasure, frames: SmallFrames) -> np.ndarray:
    """Values of a whole film as a decoding pass asks for them: ``step`` frames a call, the film's ends repeated."""
    before, after = (
        join(*[SmallFrames(frames.luma[i : i + 1 or None], frames.chroma[i : i + 1 or None])] * measure.context)
        for i in (0, -1)
    )
    padded = join(before, frames, after) if measure.context else frames
    calls = []
    for begin in range(0, len(frames), measure.step):
        part = slice(begin, min(begin + measure.step, len(frames)) + 2 * measure.context)
        calls.append(measure.measure(SmallFrames(padded.luma[part], padded.chroma[part])))
    return np.concatenate(calls)

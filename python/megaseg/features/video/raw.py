"""Raw features of shots: measures of frames, pictures and sound, averaged over each shot by the overlap rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.features import Features
from megaseg.features.video.similarity import RAW
from megaseg.media.measures import Recording


@dataclass(frozen=True, slots=True)
class ShotTimes:
    """Shots of a recording: int64 (shots, 2), first and last frame of each, and start and end tick of each."""

    frames: NDArray[np.int64]
    ticks: NDArray[np.int64]

    @classmethod
    def of(cls, frames: NDArray[np.int64], recording: Recording) -> ShotTimes:
        """Shots of these frames: from the start of the first frame to the end of the last one."""
        starts = recording.frame_ticks
        return cls(frames, np.stack([starts[frames[:, 0]], starts[frames[:, 1] + 1]], axis=1))


def raw_features(
    recording: Recording,
    shots: ShotTimes,
    modalities: Mapping[str, str],
    given: Mapping[str, NDArray[np.floating]] | None = None,
) -> Features:
    """Features (shots, width) in float16 by modality, without those that are all zeros, such as sound of a mute film.

    A shot owns every frame and picture in it and every half second of sound that overlaps it (MEGA supplementary, 3:
    features are averaged over a shot); a shot with none has zeros.

    Args:
        recording: of the film.
        shots: those of the film, at least one.
        modalities: the modality of each measure, by the measure's name.
        given: further arrays (shots, width) by modality, such as ``dialogue``.
    """
    arrays: dict[str, NDArray[np.floating]] = {}
    pictures = np.searchsorted(recording.picture_ticks, shots.ticks, "left")
    sound = _overlapping(recording.sound_ticks, shots.ticks)
    for measure, modality in modalities.items():
        if measure in recording.pictures:
            arrays[modality] = _means(recording.pictures[measure], pictures)
        elif measure in recording.sound:
            arrays[modality] = _means(recording.sound[measure], sound)
        elif measure in recording.frames:
            ends = np.stack([shots.frames[:, 0], shots.frames[:, 1] + 1], axis=1)
            arrays[modality] = _means(recording.frames[measure], ends)
    arrays |= given or {}
    kept = {name: array.astype(np.float16) for name, array in arrays.items() if len(array) and array.any()}
    return Features(kept, shots.ticks, recording.info.time_base, recipe=RAW)


def _overlapping(rows: NDArray[np.int64], ticks: NDArray[np.int64]) -> NDArray[np.int64]:
    """First and one past the last of increasing rows (rows, 2) that overlap each shot (shots, 2)."""
    if not len(rows):
        return np.zeros(ticks.shape, np.int64)
    first = np.searchsorted(rows[:, 1], ticks[:, 0], "right")
    return np.stack([first, np.searchsorted(rows[:, 0], ticks[:, 1], "left").clip(first)], axis=1)


def _means(values: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Means (shots, width) of rows from first to one past the last; zeros where there are none."""
    out = np.zeros((len(rows), values.shape[1]))
    for shot, (first, end) in enumerate(rows):
        if end > first:
            out[shot] = values[first:end].mean(axis=0, dtype=np.float64)
    return out

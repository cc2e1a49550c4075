"""Sound of a film as a stream of 16 kHz mono, each sample where its time stamp puts it (PyAV, extra ``video``)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from megaseg.errors import FeatureError, UnsupportedError
from megaseg.features.audio.voice import Samples
from megaseg.media.measures import RATE

_BLOCK = 30 * RATE  # samples of silence that are given at once
_SLACK = RATE // 10  # samples by which a time stamp may differ from the count without a correction
_LONGEST_GAP = 6 * 3600 * RATE  # samples; a jump beyond it is a broken time stamp


def sound_blocks(path: str | os.PathLike[str]) -> Iterator[Samples]:
    """Blocks of the default sound track from the start of the presentation on; gaps are silence.

    Damaged packets are left out. A film without sound gives no block.

    Raises:
        FeatureError: a file that cannot be opened.
        UnsupportedError: the extra ``video`` is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise UnsupportedError(f"{path}: sound needs {error.name}: pip install 'megaseg[video]'") from error
    try:
        with av.open(os.fspath(path), metadata_errors="replace") as film:
            stream = film.streams.best("audio")
            if stream is not None:
                yield from _placed(film, stream, av)
    except (av.FFmpegError, OSError) as error:
        raise FeatureError(f"{path}: expected a film with sound, got: {error}") from error


def _placed(film: Any, stream: Any, av: Any) -> Iterator[Samples]:
    """Blocks of a stream, with silence where none is; what comes before the start or twice is left out."""
    resampler = _resampler(av)
    begin = (film.start_time or 0) / av.time_base
    position = 0
    for frame in _decoded(film, stream, av):
        place = position if frame.time is None else round((frame.time - begin) * RATE)
        frame.pts = None  # the resampler counts samples; they are placed here
        try:
            parts = resampler.resample(frame)
        except ValueError:  # another rate, layout or format from here on
            resampler = _resampler(av)
            parts = resampler.resample(frame)
        samples = np.concatenate([np.zeros(0, np.float32), *(part.to_ndarray()[0] for part in parts)])
        if not _SLACK < abs(place - position) <= _LONGEST_GAP:
            place = position
        yield from _silence(place - position)
        samples = samples[max(0, position - place) :]
        position = max(position, place) + len(samples)
        if len(samples):
            yield samples


def _resampler(av: Any) -> Any:
    # Without a largest sum of a mix's weights, channels add up to more than full scale.
    return av.AudioResampler(format="flt", layout="mono", rate=RATE, options={"rematrix_maxval": "1.0"})


def _decoded(film: Any, stream: Any, av: Any) -> Iterator[Any]:
    for packet in film.demux(stream):
        try:
            yield from packet.decode()
        except av.FFmpegError:
            continue  # a damaged packet


def _silence(samples: int) -> Iterator[Samples]:
    for start in range(0, samples, _BLOCK):
        yield np.zeros(min(_BLOCK, samples - start), np.float32)

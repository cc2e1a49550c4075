"""Pictures of a film at given times, for results that are looked at."""

from __future__ import annotations

import itertools
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.arrays import read_members
from megaseg.errors import FeatureError
from megaseg.media.child import Limits, Tell, call
from megaseg.media.container import Film, opened
from megaseg.media.frames import Scaler
from megaseg.media.reading import video_file

_LIMITS = Limits()
_MOST_COLUMNS = 16_384


def stills(path: Path, ticks: Sequence[int], height: int, *, limits: Limits = _LIMITS) -> list[NDArray[np.uint8]]:
    """RGB pictures (height, width, 3) of the frames that are shown at ``ticks``, as wide as the film's shape asks.

    Raises:
        FeatureError: no video that can be decoded.
        UnsupportedError: the extra ``video`` is missing.
    """
    wanted = sorted({int(tick) for tick in ticks})
    with tempfile.TemporaryDirectory(prefix="megaseg-") as folder:
        file = str(Path(folder, "stills.npz"))
        call(_write, video_file(path), wanted, height, file, subject=str(path), limits=limits)
        pictures = read_members(file)
    return [pictures[str(int(tick))] for tick in ticks]


def _write(path: str, ticks: list[int], height: int, file: str, *, tell: Tell) -> None:
    """Write pictures by their tick, in the child."""
    scaler, pictures = Scaler(), {}
    with opened(Path(path)) as film:
        found = _in_order(film, ticks) if film.may_jump else _by_seeking(film, ticks)
        for tick, frame in found:
            pictures[str(tick)] = scaler.picture(frame, height, _width(film.shape(frame), height))
            tell(len(pictures))
    if len(pictures) < len(ticks):
        raise FeatureError(f"{path}: expected a video with frames, got none that can be decoded")
    np.savez(file, **pictures)  # type: ignore[arg-type]  # names are ticks


def _width(shape: float, height: int) -> int:
    return max(min(round(height * shape), _MOST_COLUMNS), 1)


def _by_seeking(film: Film, ticks: Iterable[int]) -> Iterator[tuple[int, Any]]:
    """Each tick, and the frame shown then."""
    for tick in ticks:
        film.seek(tick)
        yield from _shown(film, film.frames(film.packets()), [tick])


def _in_order(film: Film, ticks: Iterable[int]) -> Iterator[tuple[int, Any]]:
    """Each tick, and the frame shown then, where only reading from the start tells times.

    Groups of frames without any are not decoded.
    """
    wanted: deque[int] = deque(ticks)
    group: list[Any] = []
    packets = (packet for packet in film.packets() if packet.stream_index == film.video.index)
    for packet in itertools.chain(packets, [None]):
        if packet is None or (packet.is_keyframe and group):
            until = None if packet is None else film.packet_tick(packet)
            now = []
            while wanted and (until is None or wanted[0] < until):
                now.append(wanted.popleft())
            if now:
                yield from _shown(film, film.frames(group), now)
                film.video.codec_context.flush_buffers()
            group = []
        group.append(packet)


def _shown(film: Film, frames: Iterator[Any], ticks: Sequence[int]) -> Iterator[tuple[int, Any]]:
    """Each of increasing ticks, and the last frame that is not later, else the first."""
    wanted, before = deque(ticks), None
    for frame in frames:
        stamp = film.stamp(frame)
        while wanted and stamp is not None and stamp - film.start > wanted[0]:
            yield wanted.popleft(), frame if before is None else before
        if not wanted:
            return
        before = frame
    for tick in wanted:
        if before is not None:
            yield tick, before

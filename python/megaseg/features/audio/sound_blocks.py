"""Sound of a film as a stream of 16 kHz mono, each sample where its time stamp puts it, as the decoding pass does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from megaseg.features.audio.voice import Samples
from megaseg.media.container import opened
from megaseg.media.measures import SOUND_ROW
from megaseg.media.sound import Rows, Sound


class _Kept:
    """A measure that keeps the samples themselves until they are taken."""

    name, width, identity = "samples", 1, "samples/1"

    def __init__(self) -> None:
        self._blocks: list[Samples] = []

    def measure(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        self._blocks.append(rows.reshape(-1).copy())
        return np.zeros((len(rows), 1), np.float32)

    def take(self) -> list[Samples]:
        blocks, self._blocks = self._blocks, []
        return blocks


def sound_blocks(path: str | os.PathLike[str]) -> Iterator[Samples]:
    """Blocks of the default sound track from the start of the presentation on; gaps are silence.

    Damaged packets are left out. A film without sound gives no block.

    Raises:
        FeatureError: a file that cannot be opened as a film.
        UnsupportedError: the extra ``video`` is not installed.
    """
    with opened(Path(path)) as film:
        if film.audio is None:
            return
        kept, picture, unit = _Kept(), 0.0, float(film.time_base)
        rows = Rows([kept])
        sound = Sound(film, film.audio, rows)
        for packet in film.packets():
            if packet.stream_index == film.audio.index:
                sound.push(packet, picture)
                yield from kept.take()
            elif packet.stream_index == film.video.index:
                picture = max(picture, (film.packet_tick(packet) or 0) * unit)
        sound.push(None, picture)
        sound.finish(picture, -(-rows.position // SOUND_ROW))
        yield from kept.take()

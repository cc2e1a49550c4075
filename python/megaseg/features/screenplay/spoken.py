"""A screenplay as a film with subtitles: lines as they would be shown, and scenes with times, estimated from words."""

from __future__ import annotations

import textwrap

import numpy as np
from numpy.typing import NDArray

from megaseg.features.screenplay.screenplay import ACTION, Screenplay
from megaseg.media.subtitles import SubtitleLine

_MS_A_WORD = {True: 250, False: 350}  # of action, and of speech: a page of either is about a minute
_LINE = 60  # characters: subtitles have some seven words a line


def spoken_scenes(
    play: Screenplay, scenes: NDArray[np.int64], num_scenes: int
) -> tuple[tuple[SubtitleLine, ...], NDArray[np.int64]]:
    """Subtitle lines of a screenplay's speeches, and start and end (num_scenes, 2) of its scenes, in milliseconds.

    ``scenes`` (blocks,) is each block's scene, never falling; one without blocks has no time.
    """
    lines: list[SubtitleLine] = []
    ends = np.zeros(num_scenes, np.int64)
    clock = 0
    for block, scene in zip(play.blocks, scenes.tolist(), strict=True):
        action = block.kind == ACTION
        pieces = [block.text] if action else textwrap.wrap(block.text, _LINE)
        for piece in pieces:
            start, clock = clock, clock + _MS_A_WORD[action] * len(piece.split())
            if not action:
                lines.append(SubtitleLine(start, clock, piece))
        ends[scene] = clock
    ends = np.maximum.accumulate(ends)
    return tuple(lines), np.stack([np.append(0, ends[:-1]), ends], axis=1)

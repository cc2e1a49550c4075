"""Screenplays as ordered blocks, whatever file they came from.

A block is one paragraph of action or one speech. Where the source names its scenes, a block carries the label 1 when it
is the last of its scene; headings, transitions and page furniture never enter the text: they give the boundary away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from megaseg.errors import FeatureError

ACTION, DIALOGUE = "action", "dialogue"
# A script whose dialogue or headings the source failed to recognise has no scenes worth scoring.
_MIN_DIALOGUE_SHARE, _MAX_BLOCKS_PER_SCENE = 0.05, 50


@dataclass(frozen=True, slots=True)
class Block:
    """One paragraph of action (no speaker) or one speech."""

    kind: str
    speaker: str
    text: str


@dataclass(frozen=True, slots=True)
class Screenplay:
    """Blocks of one movie; ``labels`` uint8 (blocks,), 1 = last block of its scene, None when not known.

    ``scenes`` int64 (blocks,) is each block's scene, from 0 to ``num_scenes - 1`` and never falling, as the source
    counts scenes: a scene without blocks is a number that no block has. None when the source names none.
    ``remarks`` are what a user should hear of how the file was read; each names the file.
    """

    name: str
    blocks: tuple[Block, ...]
    labels: NDArray[np.uint8] | None
    scenes: NDArray[np.int64] | None = None
    num_scenes: int = 0
    remarks: tuple[str, ...] = ()

    @property
    def num_shots(self) -> int:
        """Number of blocks, the shots of a screenplay."""
        return len(self.blocks)


def from_parsed(
    parsed: Sequence[tuple[int, str, str]], name: str, where: str, remarks: Sequence[str] = ()
) -> Screenplay:
    """A screenplay from (scene number, speaker or "", words) of each block, as a parser of scripts gives them.

    ``where`` stands for the screenplay in messages, to which it is added.

    Raises:
        FeatureError: no blocks.
    """
    if not parsed:
        raise FeatureError(f"{where}: expected a screenplay, found no action or dialogue")
    blocks = tuple(Block(DIALOGUE if speaker else ACTION, speaker, words) for _, speaker, words in parsed)
    numbers = np.array([scene for scene, _, _ in parsed])
    scenes = np.cumsum(np.diff(numbers, prepend=numbers[0]) > 0, dtype=np.int64)  # a heading without blocks is no scene
    labels = last_of_scene(numbers.tolist(), blocks)
    named = tuple(f"{where}: {remark}" for remark in remarks)
    return Screenplay(name, blocks, labels, scenes, int(scenes[-1]) + 1, named)


def last_of_scene(scenes: Sequence[int | None], blocks: Sequence[Block]) -> NDArray[np.uint8] | None:
    """Labels from scene numbers; None when the source's scenes cannot be trusted."""
    count = len(set(scenes))
    if None in scenes or count < 2 or len(scenes) > _MAX_BLOCKS_PER_SCENE * count:
        return None
    if sum(block.kind == DIALOGUE for block in blocks) < _MIN_DIALOGUE_SHARE * len(blocks):
        return None
    numbers = np.array(scenes)
    return np.append(numbers[1:] != numbers[:-1], True).astype(np.uint8)

"""The recipe ``screenplay-scenes/1``: which arrays the scenes of a screenplay become, one row per scene.

=========== ===== ===================================================================================
modality    width row i
=========== ===== ===================================================================================
description   384 mean sentence vector of the scene's action blocks, zeros if it has none
dialogue      384 mean sentence vector of its speeches, zeros if it has none
structure      35 ``progress``: how much of the movie's words came before the scene's middle, as 16 bumps;
                  ``form``: words, blocks, cast, punctuation
=========== ===== ===================================================================================

The reserved key ``words`` holds the scene's words as hashes, for synchronisation with a synopsis.
Words are the clock: a page of a screenplay is about a minute of film, a scene anything from a line to ten pages.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.features import Features
from megaseg.errors import FeatureError
from megaseg.features.screenplay.cast import presence
from megaseg.features.screenplay.screenplay import ACTION, Block, Screenplay
from megaseg.features.text.words import hashed_words

RECIPE = "screenplay-scenes/1"
_BUMPS, _BUMP_WIDTH = 16, 0.06
_LEADS, _KNOWN = 4, 16  # cast members by blocks: those with a column of their own, and those whose coming counts

Rows = NDArray[np.float64]


def scene_features(
    play: Screenplay, vectors: NDArray[np.float32], scenes: NDArray[np.int64], num_scenes: int
) -> Features:
    """Features (num_scenes, ...) from the blocks, their sentence vectors (blocks, 384) and scenes (blocks,).

    Raises:
        FeatureError: no blocks, or scenes that do not fit the blocks.
    """
    if not play.blocks or scenes.shape != (len(play.blocks),) or scenes.min() < 0 or scenes.max() >= num_scenes:
        raise FeatureError(f"{play.name}: expected a scene from 0 to {num_scenes - 1} for each block")
    action = np.array([block.kind == ACTION for block in play.blocks])
    modalities = {
        "description": _means(vectors, np.where(action, scenes, -1), num_scenes),
        "dialogue": _means(vectors, np.where(action, -1, scenes), num_scenes),
        "structure": np.concatenate([progress(play.blocks, scenes, num_scenes), form(play, scenes, num_scenes)], 1),
    }
    texts = [""] * num_scenes
    for block, scene in zip(play.blocks, scenes.tolist(), strict=True):
        texts[scene] += f" {block.speaker} {block.text}"
    arrays = {name: rows.astype(np.float32) for name, rows in modalities.items()}
    return Features(arrays, recipe=RECIPE, words=hashed_words(texts))


def _sums(values: Rows, scenes: NDArray[np.int64], num_scenes: int) -> Rows:
    """Sums of (blocks,) or (blocks, columns) by scene; blocks of scene -1 are left out."""
    out = np.zeros((num_scenes, *values.shape[1:]))
    np.add.at(out, scenes[scenes >= 0], values[scenes >= 0])
    return out


def _means(vectors: NDArray[np.float32], scenes: NDArray[np.int64], num_scenes: int) -> Rows:
    counts = _sums(np.ones(len(scenes)), scenes, num_scenes)
    return _sums(vectors.astype(np.float64), scenes, num_scenes) / np.maximum(counts, 1)[:, None]


def _words(blocks: Sequence[Block]) -> Rows:
    return np.array([float(len(block.text.split())) for block in blocks])


def progress(blocks: Sequence[Block], scenes: NDArray[np.int64], num_scenes: int) -> Rows:
    """(scenes, 16): bumps of width 0.06 over the share of the movie's words up to the middle of each scene."""
    words = _sums(_words(blocks), scenes, num_scenes)
    middle = (np.cumsum(words) - words / 2) / max(1.0, words.sum())
    return np.asarray(np.exp(-0.5 * ((middle[:, None] - np.linspace(0, 1, _BUMPS)) / _BUMP_WIDTH) ** 2))


def form(play: Screenplay, scenes: NDArray[np.int64], num_scenes: int) -> Rows:
    """(scenes, 19): lengths as logarithms, absolute and against the movie's mean and neighbours; cast; punctuation."""
    blocks = play.blocks
    words = _words(blocks)
    spoken = np.array([float(block.kind != ACTION) for block in blocks])

    def total(values: Rows) -> Rows:
        return np.log1p(_sums(values, scenes, num_scenes))

    length = total(words)
    around = np.pad(length, 1, mode="edge")
    here, cast = _cast(blocks, scenes, num_scenes)
    columns = [
        length,
        length - length.mean(),
        length - (around[:-2] + around[2:]) / 2,
        total(np.ones(len(blocks))),
        total(words * spoken),
        total(words * (1 - spoken)),
        total(np.array([float(block.text.count("!")) for block in blocks])),
        total(np.array([float(block.text.count("?")) for block in blocks])),
        total(np.array([float("--" in block.text or "..." in block.text) for block in blocks])),
        np.log1p(here.sum(1)),
    ]
    return np.concatenate([np.stack(columns, 1), cast], axis=1)


def _cast(blocks: Sequence[Block], scenes: NDArray[np.int64], num_scenes: int) -> tuple[Rows, Rows]:
    """Who is in each scene (scenes, cast), and of that (scenes, 9): leads present, how many, pairs, first, last."""
    here = np.minimum(_sums(presence(blocks).astype(np.float64), scenes, num_scenes), 1)
    known = here[:, np.argsort(-here.sum(0), kind="stable")[:_KNOWN]]
    leads = np.zeros((num_scenes, _LEADS))
    leads[:, : known.shape[1]] = known[:, :_LEADS]
    first, last = np.zeros(num_scenes), np.zeros(num_scenes)
    for member in known.T[known.any(0)]:
        rows = np.flatnonzero(member)
        first[rows[0]] += 1
        last[rows[-1]] += 1
    together = leads.sum(1)
    return here, np.column_stack([leads, together, leads[:, 0] * leads[:, 1], known.sum(1), first, last])

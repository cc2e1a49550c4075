"""The recipe ``dialogue-scenes/1``: which arrays the scenes of a film become by its dialogue alone, one row per scene.

=========== ===== ===================================================================================
modality    width row i
=========== ===== ===================================================================================
dialogue      384 mean sentence vector of the scene's lines, zeros if it has none
structure      30 ``progress``: how much of the film came before the scene's middle, as 16 bumps;
                  ``form``: length, amount and pace of talk, punctuation
=========== ===== ===================================================================================

A scene owns the lines whose middle is in it. Time is the film's own; of a screenplay, ``screenplay.spoken`` estimates
it, so that a model may be trained on screenplays and read films.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.features import Features
from megaseg.errors import FeatureError
from megaseg.features.text.dialogue import Dialogue

RECIPE = "dialogue-scenes/1"
LEAST_SCENES = 6  # as many as acts
LEAST_LINES = 100  # of a film's dialogue; with fewer its acts are not decided
_BUMPS, _BUMP_WIDTH = 16, 0.06
_WIDE = 2  # scenes before and after, whose mean is a scene's surroundings

Rows = NDArray[np.float64]


class TooLittleDialogue(FeatureError):
    """A film whose dialogue is too little to find acts by."""


def scene_features(dialogue: Dialogue, times: NDArray[Any], *, least: int = LEAST_LINES) -> Features:
    """Features (scenes, ...) from a film's dialogue and its scenes' start and end (scenes, 2) in milliseconds.

    Raises:
        TooLittleDialogue: fewer than ``least`` lines in the scenes.
        FeatureError: times that are no scenes one after the other.
    """
    if times.ndim != 2 or times.shape[1:] != (2,) or not len(times) or (np.diff(times.reshape(-1)) < 0).any():
        raise FeatureError(f"times: expected start and end of scenes one after the other, got shape {times.shape}")
    owner = owners(dialogue, times)
    if (count := int((owner >= 0).sum())) < least:
        raise TooLittleDialogue(f"dialogue: expected at least {least} lines to find acts by, got {count}")
    counts = _sums(np.ones(len(owner)), owner, len(times))
    means = _sums(dialogue.vectors.astype(np.float64), owner, len(times)) / np.maximum(counts, 1)[:, None]
    structure = np.concatenate([progress(times), form(dialogue, owner, times)], axis=1)
    return Features({"dialogue": means.astype(np.float32), "structure": structure.astype(np.float32)}, recipe=RECIPE)


def owners(dialogue: Dialogue, times: NDArray[Any]) -> NDArray[np.int64]:
    """The scene (lines,) in which the middle of each line is; -1 where it is in none."""
    middles = dialogue.spans.mean(1) if dialogue.lines else np.zeros(0)
    scene = np.searchsorted(times[:, 1], middles, side="right")
    inside = (scene < len(times)) & (middles >= times[np.minimum(scene, len(times) - 1), 0])
    return np.where(inside, scene, -1)


def progress(times: NDArray[Any]) -> Rows:
    """(scenes, 16): bumps of width 0.06 over the share of the film up to the middle of each scene."""
    middle = (times.mean(1) - times[0, 0]) / max(1.0, float(times[-1, 1] - times[0, 0]))
    return np.asarray(np.exp(-0.5 * ((middle[:, None] - np.linspace(0, 1, _BUMPS)) / _BUMP_WIDTH) ** 2))


def form(dialogue: Dialogue, owner: NDArray[np.int64], times: NDArray[Any]) -> Rows:
    """(scenes, 14): lengths, talk and pace as logarithms, each against the film's mean, and against the surroundings.

    Against the mean of the film, because a screenplay's time is an estimate and subtitles shorten what is said.
    """
    texts = [line.text for line in dialogue.lines]

    def total(values: list[int]) -> Rows:
        return _sums(np.array(values, np.float64), owner, len(times))

    seconds = np.maximum(np.diff(times, axis=1)[:, 0] / 1000.0, 0.1)
    words = total([len(text.split()) for text in texts])
    length, talk = _against_mean(seconds), _against_mean(words + 1)
    pace = np.log((words + 1) / (seconds + 1)) - np.log((words.sum() + 1) / (seconds.sum() + 1))
    marks = [_against_mean(total([text.count(mark) for text in texts]) + 1) for mark in "!?"]
    trails = _against_mean(total([int("--" in text or "..." in text or "…" in text) for text in texts]) + 1)
    silent = (words == 0).astype(np.float64)
    columns = [length, talk, pace, *marks, trails, silent]
    return np.column_stack([*columns, *(column - _around(column) for column in columns)])


def _against_mean(values: Rows) -> Rows:
    return np.asarray(np.log(values) - np.log(values.mean()))


def _around(values: Rows) -> Rows:
    """The mean of each scene's surroundings, itself included, beyond the ends the last scene again."""
    padded = np.pad(values, _WIDE, mode="edge")
    return np.asarray(np.convolve(padded, np.full(2 * _WIDE + 1, 1 / (2 * _WIDE + 1)), mode="valid"))


def _sums(values: Rows, owner: NDArray[np.int64], scenes: int) -> Rows:
    """Sums of (lines,) or (lines, columns) by scene; lines of scene -1 are left out."""
    out = np.zeros((scenes, *values.shape[1:]))
    np.add.at(out, owner[owner >= 0], values[owner >= 0])
    return out
